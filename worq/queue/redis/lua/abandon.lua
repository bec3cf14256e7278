-- abandon(P; pool, cause) -> n
-- processing -> enqueued | scheduled | completed, for what the dead pool had: LEASES_LIMIT of it
-- at a time, and with less than that the pool is forgotten.
insist()
local n = each_lease(pool, function() return true end, function(id, T)
  lost(id, T, cause)
end)
if n < LEASES_LIMIT then
  forget_pool(pool)
end
conclude()
return n

-- abandon(P; pool, cause) -> n
-- processing -> enqueued | scheduled | completed, for all that the dead pool had
insist()
local n = 0
each_lease(pool, function(id, T)
  lost(id, T, cause)
  work()
  n = n + 1
end)
call('ZREM', P .. 'pools', pool)
drop(P .. 'pool:' .. pool)
conclude()
return n

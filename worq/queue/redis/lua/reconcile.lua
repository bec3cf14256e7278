-- reconcile(P; pool, {token}, ...) -> n
-- processing -> enqueued, for each task of the pool whose token it does not know; LEASES_LIMIT of
-- them at a time
insist()
local tokens = {}
for i = rest, #ARGV do
  tokens[ARGV[i]] = true
end
local n = each_lease(pool, function(T) return not tokens[T.n .. T.e] end, function(id, T)
  if is_gate(T) then
    lost(id, T, '')
  else
    release(id, T)
    call('HDEL', P .. 't:' .. id, 'o')   -- it was not settled: to do so now comes too late
  end
end)
conclude()
return n

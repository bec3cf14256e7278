-- reconcile(P; pool, {token}, ...) -> n
-- processing -> enqueued, for each task of the pool whose token it does not know
insist()
local tokens, n = {}, 0
for i = rest, #ARGV do
  tokens[ARGV[i]] = true
end
each_lease(pool, function(id, T)
  if tokens[T.n .. T.e] then
    return
  elseif is_gate(T) then
    lost(id, T, '')
  else
    release(id, T)
    call('HDEL', P .. 't:' .. id, 'o')   -- it was not settled: to do so now comes too late
  end
  n = n + 1
end)
conclude()
return n

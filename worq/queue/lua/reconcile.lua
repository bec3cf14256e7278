-- reconcile(P; pool, {token}, ...) -> n
-- processing -> enqueued, for each task of the pool whose token it does not know
insist()
local tokens, n = {}, 0
for i = rest, #ARGV do
  tokens[ARGV[i]] = true
end
each_lease(pool, function(id, T)
  if not tokens[T.n .. T.e] then
    release(id, T)
    call('HDEL', P .. 't:' .. id, 'o')   -- it was not settled: to do so now comes too late
    n = n + 1
  end
end)
conclude()
return n

-- tell(P; pool, {field, value}, ...) -> whether it is known: 1 or 0
-- (no change) What is known of a pool is changed; what is empty is known no more.
local key = P .. 'pool:' .. pool
if not call('ZSCORE', P .. 'pools', pool) then
  return 0
end
insist()
for i = rest, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    call('HDEL', key, ARGV[i])
  else
    call('HSET', key, ARGV[i], ARGV[i + 1])
  end
end
expire(now + POOL_TTL * 1000, key)
local told = told_from(rest)
if told.tasks then
  unlearn(pool)
  learn(pool, told.tasks)
end
return 1

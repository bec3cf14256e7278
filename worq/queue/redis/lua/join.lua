-- join(P; pool, {field, value}, ...) -> 'ok'
-- (no change) The pool is known, and alive as of now.
local key, ends = P .. 'pool:' .. pool, now + POOL_TTL * 1000
insist()
call('HSET', KEYS[1], 'version', newer and meta[6] or STAMP)
forget_pool(pool)
call('ZREMRANGEBYSCORE', P .. 'pools', '-inf', now - POOL_TTL * 1000)
call('ZADD', P .. 'pools', now, pool)
if rest <= #ARGV then
  call('HSET', key, unpack(ARGV, rest))
  expire(ends, key)
  local on = place(unpack(call('HMGET', key, 'host', 'boot')))
  if on then
    call('ZADD', on, now, pool)
    expire(ends, on)
  end
end
local told = told_from(rest)
if told.tasks or meta[7] then
  learn(pool, told.tasks)
end
return 'ok'

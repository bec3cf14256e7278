-- join(P; pool, {field, value}, ...) -> 'ok'
-- (no change) The pool is known, and alive as of now.
local key = P .. 'pool:' .. pool
insist()
call('HSET', KEYS[1], 'version', SCHEMA)
call('ZREMRANGEBYSCORE', P .. 'pools', '-inf', now - POOL_TTL * 1000)
call('ZADD', P .. 'pools', now, pool)
drop(key)
if rest <= #ARGV then
  call('HSET', key, unpack(ARGV, rest))
  expire(now + POOL_TTL * 1000, key)
end
return 'ok'

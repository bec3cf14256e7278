-- Each command that scripts use is tried, on a key that was not there before and is not at the end. It
-- comes before the prelude, which needs commands that may be among those denied.
do
  local key, denied = P .. '-', {}

  local function try(...)
    local answer = redis.pcall(...)
    local err = type(answer) == 'table' and answer.err
    if err and (err:find('executing the script', 1, true) or err:find('ACL failure', 1, true)
                or err:find('NOPERM', 1, true)) then
      denied[#denied + 1] = (...)
    end
  end

  try('UNLINK', key)
  if denied[1] then   -- what is written here would stay
    return denied
  end
  try('HSET', key, 'x', '1')
  try('HINCRBY', key, 'x', '1')
  try('HGET', key, 'x')
  try('HMGET', key, 'x')
  try('HGETALL', key)
  try('HEXISTS', key, 'x')
  try('HKEYS', key)
  try('HLEN', key)
  try('HSTRLEN', key, 'x')
  try('HDEL', key, 'x')
  try('UNLINK', key)
  try('RPUSH', key, 'x', 'x')
  try('LPUSH', key, 'x')
  try('LINDEX', key, '0')
  try('LLEN', key)
  try('LPOS', key, 'x')
  try('LREM', key, '1', 'y')
  try('LRANGE', key, '0', '0')
  try('LPOP', key)
  try('RPOP', key)
  try('LTRIM', key, '1', '-1')
  try('UNLINK', key)
  try('ZADD', key, '1', 'x')
  try('ZCARD', key)
  try('ZSCORE', key, 'x')
  try('ZRANGE', key, '0', '0')
  try('ZRANGEBYSCORE', key, '1', '1')
  try('ZRANGEBYLEX', key, '-', '+')
  try('ZREMRANGEBYSCORE', key, '2', '2')
  try('ZREM', key, 'y')
  try('ZPOPMIN', key)
  try('ZLEXCOUNT', key, '-', '+')
  try('ZINTER', '1', key)
  try('UNLINK', key)
  try('SADD', key, 'x')
  try('SISMEMBER', key, 'x')
  try('SMEMBERS', key)
  try('SRANDMEMBER', key)
  try('UNLINK', key)
  try('SET', key, 'x')
  try('GET', key)
  try('GETRANGE', key, '0', '0')
  try('STRLEN', key)
  try('EXISTS', key)
  try('TYPE', key)
  try('PTTL', key)
  try('PEXPIREAT', key, '99999999999999')
  try('PERSIST', key)
  try('RENAME', key, key)
  try('UNLINK', key)
  try('TIME')
  try('SCAN', '0', 'COUNT', '1')
  return denied
end

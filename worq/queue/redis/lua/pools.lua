-- pools(P; beside) -> {{pool, ms since it was seen, {field, value, ...}}, ...}
-- (no change) Those of one place: as many as a step may read, and for one of them every TICK.
local gone = now - POOL_TTL * 1000
local answer = {}
if beside ~= '' then
  local on = place(unpack(call('HMGET', P .. 'pool:' .. beside, 'host', 'boot')))
  local looked = on and tonumber(call('ZSCORE', on, '') or 0)
  if not on or now >= looked and now - looked < TICK then
    return answer
  end
  for _, pool in ipairs(call('ZRANGE', on, 0, PUT_LIMIT)) do
    local host, boot, pid, started = unpack(call(
      'HMGET', P .. 'pool:' .. pool, 'host', 'boot', 'pid', 'started'))
    local seen = call('ZSCORE', P .. 'pools', pool)
    if not seen or tonumber(seen) <= gone or place(host, boot) ~= on then
      call('ZREM', on, pool)
    elseif pool ~= beside then
      answer[#answer + 1] = {pool, now - seen, {'pid', pid or '', 'started', started or ''}}
    end
  end
  call('ZADD', on, now, '')
  expire(now + POOL_TTL * 1000, on)
  return answer
end
call('ZREMRANGEBYSCORE', P .. 'pools', '-inf', gone)
local flat = call('ZRANGE', P .. 'pools', 0, -1, 'WITHSCORES')
for i = 1, #flat, 2 do
  table.insert(answer, {flat[i], now - flat[i + 1], call('HGETALL', P .. 'pool:' .. flat[i])})
end
return answer

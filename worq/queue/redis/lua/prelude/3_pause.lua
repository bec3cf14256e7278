-- In how many ms a tick may find something due, or this pool should look again all the same; nil if
-- that is in POLL. The more pools there are, the less often each one looks. And CROWD of them are
-- told what is due: if that many come, or beat before, the others need not.
local function pause()
  local pools = call('ZCARD', P .. 'pools')
  local span = pools > CROWD and math.min(math.floor(POLL * pools / CROWD), IDLE) or nil
  if call('EXISTS', P .. 'sched', P .. 'exp', P .. 'lease', P .. 'unknown') == 0 then
    return span   -- as in most queues that are idle
  end
  local first
  local horizon = text(now + (span or POLL))
  for _, index in ipairs({'sched', 'exp', 'lease', 'unknown'}) do
    local found = call('ZRANGEBYSCORE', P .. index, '-inf', horizon, 'WITHSCORES', 'LIMIT', '0', '1')
    first = found[2] and math.min(found[2], first or found[2]) or first
  end
  if not first then
    return span
  end
  local moment = math.max(first, meta[1] + TICK)   -- what is due already waits for the next tick
  if span then
    local alarm, told = unpack(call('HMGET', KEYS[1], 'alarm', 'told'))
    told = alarm == text(moment) and tonumber(told) or 0
    if told >= CROWD then
      return span
    end
    call('HSET', KEYS[1], 'alarm', text(moment), 'told', text(told + 1))
  end
  return moment - now
end

-- What is due, at most every TICK: no mover, no leader, no lock.

local function give_time(ms)
  local flat = call('ZRANGE', P .. 'lease', 0, -1, 'WITHSCORES')
  local moved = {}
  for i = 1, #flat, 2 do
    local at = tonumber(flat[i + 1])
    moved[i] = math.max(at, math.min(at + ms, now + GRACE))
    moved[i + 1] = flat[i]
  end
  push('ZADD', P .. 'lease', moved)
end

local function tick()
  local last, calm = tonumber(meta[1]), tonumber(meta[2] or 0) or 0
  if not (calm <= now + GRACE) then
    calm = 0   -- others have written it: no tick has ever made reaping pause for longer
  end
  local step = last and math.abs(now - last) <= REACH and now - last or TICK
  if step < TICK and step >= -TICK then   -- further back is damage: see `skew`
    return
  elseif step > GAP then
    -- The backend was away, so live pools could not beat. But for a TICK of it: where all ticks
    -- are slow, leases must run out in the end.
    give_time(step - TICK)
    if now >= calm + COOLDOWN then
      calm = now + GRACE
    end
  end
  call('HSET', KEYS[1], 'tick', now, 'calm', calm)
  meta[1] = now
  local over = call('ZRANGEBYSCORE', P .. 'exp', '-inf', now, 'LIMIT', 0, TICK_LIMIT)
  for _, id in ipairs(over) do
    call('ZREM', P .. 'exp', id)   -- also if it is processed: then see `enqueue`
    task(id)
  end
  local due = call('ZRANGEBYSCORE', P .. 'sched', '-inf', now, 'LIMIT', 0, TICK_LIMIT)
  for _, id in ipairs(due) do
    local T = task(id)
    call('ZREM', P .. 'sched', id)
    if T and T.s == SCHEDULED then
      enqueue(id, T, deliveries(T) > 0 and front or back)   -- it came back, and was before them
    end
  end
  local full = #over == TICK_LIMIT or #due == TICK_LIMIT
  if now >= calm then
    local late = call('ZRANGEBYSCORE', P .. 'lease', '-inf', now, 'LIMIT', 0, TICK_LIMIT)
    for _, id in ipairs(late) do
      local T = read(id)
      if T and T.s == PROCESSING then
        lost(id, T, 'pool ' .. (T.o or '?') .. ' stopped renewing its lease')
      else
        call('ZREM', P .. 'lease', id)   -- somebody else has deleted the task
      end
    end
    full = full or #late == TICK_LIMIT
  end
  if meta[7] then
    full = judge_names() or full
  end
  if full then
    call('HSET', KEYS[1], 'tick', now - TICK)   -- there may be more: the next verb goes on
    meta[1] = now - TICK
  end
  work()
  flush_ready()
end

-- How the queue stands.

-- How many are pending, scheduled, enqueued, processing.
local function all_sizes()
  local ready = -(tonumber((call('HGET', KEYS[1], 'dead') or '0'):match('^%-?%d+$')) or 0)
  for p = 0, 2 do
    ready = ready + call('LLEN', P .. 'q:c' .. p) + call('LLEN', P .. 'q:' .. p)
      + call('ZCARD', P .. 'aside:c' .. p) + call('ZCARD', P .. 'aside:' .. p)
  end
  return call('ZCARD', P .. 'wait'), call('ZCARD', P .. 'sched'), math.max(ready, 0),
    call('ZCARD', P .. 'lease')
end

-- These, and what has been counted ever: name, number, ...
local function all_stats()
  local found = call('HMGET', KEYS[1], 'v', 'f', 'x', 'c', 'redelivered', 'stale')
  for i = 1, #found do
    found[i] = tonumber((found[i] or '0'):match('^%-?%d+$') or 0)   -- and no nan
  end
  local pending, scheduled, ready, processing = all_sizes()
  return {'pending', pending, 'scheduled', scheduled, 'enqueued', ready, 'processing', processing,
          'succeeded', found[1], 'failed', found[2], 'expired', found[3],
          'cancelled', found[4], 'redelivered', found[5], 'stale', found[6]}
end

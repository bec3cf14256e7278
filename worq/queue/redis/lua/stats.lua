-- stats(P;) -> {name, number, ...}
-- (no change)
local names = {'v', 'f', 'x', 'c', 'redelivered', 'stale', 'dead'}
local found = call('HMGET', KEYS[1], unpack(names))
for i = 1, #found do
  found[i] = tonumber((found[i] or '0'):match('^%-?%d+$') or 0)   -- and no nan
end
local ready = -found[7]
for p = 0, 2 do
  ready = ready + call('LLEN', P .. 'q:c' .. p) + call('LLEN', P .. 'q:' .. p)
    + call('ZCARD', P .. 'aside:c' .. p) + call('ZCARD', P .. 'aside:' .. p)
end
return {'pending', call('ZCARD', P .. 'wait'), 'scheduled', call('ZCARD', P .. 'sched'),
        'enqueued', math.max(ready, 0), 'processing', call('ZCARD', P .. 'lease'),
        'succeeded', found[1], 'failed', found[2], 'expired', found[3],
        'cancelled', found[4], 'redelivered', found[5], 'stale', found[6]}

-- purge(P;) -> n
-- pending | scheduled | enqueued -> completed, later and in steps, but none is taken any more
-- What is renamed away is of an older generation than `purges`; whoever meets such a task
-- before its turn ends it, see `task`.
insist()
local keys = {'q:c0', 'q:0', 'q:c1', 'q:1', 'q:c2', 'q:2', 'aside:c0', 'aside:0', 'aside:c1', 'aside:1',
              'aside:c2', 'aside:2', 'wait', 'sched'}
local n = -(call('HGET', KEYS[1], 'dead') or 0)
for _, name in ipairs(keys) do
  local key = P .. name
  n = n + call(name:sub(1, 1) == 'q' and 'LLEN' or 'ZCARD', key)
end
if n == 0 then
  return 0
end
if any_aside() then
  drop(P .. 'unknown', P .. 'lines:c0', P .. 'lines:0', P .. 'lines:c1', P .. 'lines:1', P .. 'lines:c2',
       P .. 'lines:2')
end
for _, name in ipairs(keys) do
  if call('EXISTS', P .. name) == 1 then
    local lane = 'x:' .. purges .. ':' .. name
    call('RENAME', P .. name, P .. lane)
    call('RPUSH', P .. 'trash', lane)
  end
end
purges = purges + 1
call('HSET', KEYS[1], 'purges', purges, 'dead', 0, 'more', 1)
meta[4] = '1'
conclude()
return n

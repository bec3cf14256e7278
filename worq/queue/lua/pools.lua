-- pools(P;) -> {{pool, ms since it was seen, {field, value, ...}}, ...}
-- (no change)
call('ZREMRANGEBYSCORE', P .. 'pools', '-inf', now - POOL_TTL * 1000)
local answer, flat = {}, call('ZRANGE', P .. 'pools', 0, -1, 'WITHSCORES')
for i = 1, #flat, 2 do
  table.insert(answer, {flat[i], now - flat[i + 1], call('HGETALL', P .. 'pool:' .. flat[i])})
end
return answer

-- Ends by the clock that a test moves are kept in the zset `ends`.
local function drop(...)
  call('UNLINK', ...)
  call('ZREM', P .. 'ends', ...)
end

for _, key in ipairs(call('ZRANGEBYSCORE', P .. 'ends', '-inf', server)) do
  drop(key)
end

local function expire(at, key)
  if tonumber(at) <= now then
    drop(key)
  elseif call('EXISTS', key) == 1 then
    call('ZADD', P .. 'ends', at - skew, key)
  end
end

local function persist(key)
  call('ZREM', P .. 'ends', key)
end

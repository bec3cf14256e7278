-- A clock that a test moves: the key `clock`. Ends are kept in the zset `ends`.
local now = tonumber(call('GET', P .. 'clock') or 1)

local function drop(...)
  call('UNLINK', ...)
  call('ZREM', P .. 'ends', ...)
end

for _, key in ipairs(call('ZRANGEBYSCORE', P .. 'ends', '-inf', now)) do
  drop(key)
end

local function expire(at, key)
  if tonumber(at) <= now then
    drop(key)
  elseif call('EXISTS', key) == 1 then
    call('ZADD', P .. 'ends', at, key)
  end
end

local function persist(key)
  call('ZREM', P .. 'ends', key)
end

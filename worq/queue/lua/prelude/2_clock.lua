-- The server's clock in ms, and the ends of keys.
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function expire(at, key)
  call('PEXPIREAT', key, at)
end

local function persist(key)
  call('PERSIST', key)
end

local function drop(...)
  call('UNLINK', ...)
end

-- The ends of keys, which Redis keeps by the server's clock.
local function expire(at, key)
  call('PEXPIREAT', key, skew == 0 and at or at - skew)
end

local function persist(key)
  call('PERSIST', key)
end

local function drop(...)
  call('UNLINK', ...)
end

-- What a register holds; what is too long has been written by others.
local function held_by(name)
  return call('HSTRLEN', P .. 'note', name) <= NOTE and call('HGET', P .. 'note', name) or ''
end

-- Whether there is room for one more, should this one be new.
local function fits(held, value)
  return value == '' or held ~= '' or call('ZCARD', P .. 'noted') < NOTES
end

local function hold(name, value)
  if value == '' then
    insist()
    call('HDEL', P .. 'note', name)
    call('ZREM', P .. 'noted', name)
  else
    call('HSET', KEYS[1], 'version', newer and meta[6] or STAMP)
    call('HSET', P .. 'note', name, value)
    call('ZADD', P .. 'noted', 0, name)
  end
end

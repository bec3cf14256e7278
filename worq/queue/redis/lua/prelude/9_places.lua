-- Where pools are: those that joined with the same host and boot id can tell of each other whether
-- they live. `on:PLACE` has them as members, and as '' when they were last looked at.

local function place(host, boot)
  return (host or '') ~= '' and (boot or '') ~= '' and P .. 'on:' .. host .. ' ' .. boot
end

local function forget_pool(pool)
  local on = place(unpack(call('HMGET', P .. 'pool:' .. pool, 'host', 'boot')))
  if on then
    call('ZREM', on, pool)
  end
  call('ZREM', P .. 'pools', pool)
  drop(P .. 'pool:' .. pool)
end

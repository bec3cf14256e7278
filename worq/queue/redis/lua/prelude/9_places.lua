-- Where pools are: those that joined with the same host and boot id can tell of each other whether
-- they live. `on:PLACE` has them as members, and as '' when they were last looked at.

local function place(host, boot)
  return (host or '') ~= '' and (boot or '') ~= '' and P .. 'on:' .. host .. ' ' .. boot
end

local function drop_names(digest)
  local flat = call('HGETALL', P .. 'names')
  for i = 2, #flat, 2 do
    if flat[i] == digest then
      return
    end
  end
  drop(P .. 'knows:' .. digest)
end

local function unlearn(pool)
  local digest = call('HGET', P .. 'names', pool)
  if digest then
    call('HDEL', P .. 'names', pool)
    drop_names(digest)
  end
  return digest
end

local function forget_pool(pool)
  local on = place(unpack(call('HMGET', P .. 'pool:' .. pool, 'host', 'boot')))
  if on then
    call('ZREM', on, pool)
  end
  call('ZREM', P .. 'pools', pool)
  drop(P .. 'pool:' .. pool, P .. 'bell:' .. pool)
  if unlearn(pool) or meta[7] then
    mix()
  end
end

-- What was told of a pool, by name; and how long what nobody knows waits is kept for all.
local function told_from(from)
  local told = {}
  for i = from, #ARGV - 1, 2 do
    told[ARGV[i]] = ARGV[i + 1]
  end
  local grace = told.unknown_grace or ''
  if grace:match('^%d+$') and #grace < 16 and tonumber(grace) <= SPAN then
    call('HSET', KEYS[1], 'grace', grace)
  end
  return told
end

-- What a pool has told that it knows; names of pools that are forgotten go.
local function learn(pool, tasks)
  for _, name in ipairs(call('HKEYS', P .. 'names')) do
    if not call('ZSCORE', P .. 'pools', name) then
      unlearn(name)
    end
  end
  if tasks and tasks ~= '' then
    local digest, names = redis.sha1hex(tasks), {}
    for name in tasks:gmatch('[^\n]+') do
      names[#names + 1] = name
    end
    call('HSET', P .. 'names', pool, digest)
    push('SADD', P .. 'knows:' .. digest, names)
  end
  mix()
  if meta[7] == '1' then   -- something may wait for it
    call('RPUSH', P .. 'bell:' .. pool, '')
    expire(now + INBOX_TTL * 1000, P .. 'bell:' .. pool)
  end
end

-- Which pools know which names, and the side lines of those tasks that wait for one that does, or that
-- are paused.
-- `names` tells of each pool that has told its names which set of names that is, by its digest. A line
-- is a part of the zset `aside:LANE`, for each name: members are the name, when it was put aside, the
-- nonce and the id. `lines:LANE` has the names, by the number of the first one in its line; `unknown`
-- those that no live pool knows, by when their grace ends. While `m` has `names` as 1, `take` looks.

-- The names that live pools have told: key of the set, and these pools.
local told_by, knowers_of = nil, {}
local function names_anew()
  told_by, knowers_of = nil, {}
end

local function live_names()
  if told_by then
    return told_by
  end
  told_by = {}
  local pools = call('ZRANGEBYSCORE', P .. 'pools', text(now - LEASE), '+inf')
  for i = 1, #pools, CHUNK do
    local some = {unpack(pools, i, math.min(i + CHUNK - 1, #pools))}
    for k, digest in ipairs(call('HMGET', P .. 'names', unpack(some))) do
      if digest then
        local key = P .. 'knows:' .. digest
        told_by[key] = told_by[key] or {}
        table.insert(told_by[key], some[k])
      end
    end
  end
  return told_by
end

local function knowers(name)
  local found = knowers_of[name]
  if found == nil then
    found = false
    for key, pools in pairs(live_names()) do
      if call('SISMEMBER', key, name) == 1 then
        found = found or {}
        for _, pool in ipairs(pools) do
          found[#found + 1] = pool
        end
      end
    end
    knowers_of[name] = found
  end
  return found
end

local function names_of(pool)
  local digest = call('HGET', P .. 'names', pool)
  return digest and P .. 'knows:' .. digest
end

local function any_aside()
  return call('EXISTS', P .. 'aside:c0', P .. 'aside:0', P .. 'aside:c1', P .. 'aside:1', P .. 'aside:c2',
              P .. 'aside:2') > 0
end

local function unknown_grace()
  local ms = tonumber(call('HGET', KEYS[1], 'grace') or nil)
  return ms and ms >= 0 and ms <= SPAN and ms or UNKNOWN_GRACE
end

-- Whether names have to be looked at: '1'; '0' if that depends on which pools live; or nothing.
local function mix()
  local told, n, alive = {}, 0, 0
  local flat = call('HGETALL', P .. 'names')
  for i = 2, #flat, 2 do
    if not told[flat[i]] then
      told[flat[i]], n = true, n + 1
    end
  end
  names_anew()
  for _ in pairs(live_names()) do
    alive = alive + 1
  end
  local state = (alive > 1 or any_aside() or pauses().any) and '1' or n > 1 and '0' or false
  if state and state ~= meta[7] then
    call('HSET', KEYS[1], 'names', state)
  elseif meta[7] and not state then
    call('HDEL', KEYS[1], 'names')
  end
  meta[7] = state
end

-- Puts one that is ready into the line of its name; and has those pools look that know it, unless it is paused.
local function put_aside(id, T, name)
  local side = side_of(T)
  local serial = math.max(now * 1000, (tonumber(call('HGET', KEYS[1], 'aside') or 0) or 0) + 1)
  serial = math.min(serial, (now + REACH) * 1000)
  T.L = ('%018d'):format(serial)
  call('HSET', P .. 't:' .. id, 'L', T.L)
  call('HSET', KEYS[1], 'aside', text(serial), 'names', '1')
  meta[7] = '1'
  call('ZADD', P .. 'aside:' .. side, '0', aside_member(id, T, name))
  call('ZADD', P .. 'lines:' .. side, 'NX', T.L, name)
  if is_paused(name) then
    return
  end
  local pools = knowers(name)
  if not pools then
    local ends = now + unknown_grace()
    call('ZADD', P .. 'unknown', 'NX', text(ends), name)
    due_at(ends)
  elseif not pools.woken then
    pools.woken = true
    for i = 1, math.min(#pools, WAKES) do
      local bell = P .. 'bell:' .. pools[i]
      if call('EXISTS', bell) == 0 then
        call('RPUSH', bell, '')
        expire(now + INBOX_TTL * 1000, bell)
      end
    end
  end
end

-- A pool has none of this name. It is as if it had not been delivered; and it fails if that had been
-- tried when its grace was over, and still no live pool knows it.
local function unknown_here(id, T, pool, data)
  local name, mine = name_of(id, T), names_of(pool)
  local known = knowers(name)
  if not known and (T.L == '-' or unknown_grace() == 0) then
    finish(id, T, data, pool)
    return
  end
  call('ZREM', P .. 'lease', id)
  call('HSET', P .. 't:' .. id, 'd', deliveries(T) - 1)
  if known and mine and call('SISMEMBER', mine, name) == 1 then   -- a worker of it does, but not this one
    schedule(id, T, now + TICK)
    return 'aside'
  end
  enqueue(id, T)
  put_aside(id, T, name)
  return 'aside'
end

-- Another thing is paused than before: all who wait look what there is for them now.
local function pauses_changed()
  paused = nil
  mix()
  local pools = call('ZRANGE', P .. 'pools', '+inf', text(now - LEASE), 'BYSCORE', 'REV', 'LIMIT', '0', WAKES)
  for _, pool in ipairs(pools) do
    call('RPUSH', P .. 'bell:' .. pool, '')
    expire(now + INBOX_TTL * 1000, P .. 'bell:' .. pool)
  end
  wake(WAKES)
end

-- What is due in the lines, with each tick: names that have become known, or are so no more; and what
-- has waited in vain goes back to its lane, to be handed to anybody. Whether there may be more.
local function judge_names()
  mix()
  if not any_aside() then
    drop(P .. 'unknown')
    return false
  end
  local grace, seen, told = unknown_grace(), {}, call('EXISTS', P .. 'names') == 1
  for _, side in ipairs({'c0', '0', 'c1', '1', 'c2', '2'}) do
    for _, name in ipairs(call('ZRANGE', P .. 'lines:' .. side, '0', PUT_LIMIT - 1)) do
      if not seen[name] then
        seen[name] = true
        if is_paused(name) or knowers(name) then
          call('ZREM', P .. 'unknown', name)
        elseif told then
          call('ZADD', P .. 'unknown', 'NX', text(now + grace), name)
        end
      end
    end
  end
  for _, name in ipairs(call('ZRANGE', P .. 'unknown', '0', PUT_LIMIT - 1)) do
    local waits = seen[name]
    for _, side in ipairs(waits and {} or {'c0', '0', 'c1', '1', 'c2', '2'}) do
      waits = waits or call('ZSCORE', P .. 'lines:' .. side, name)
    end
    if not waits then
      call('ZREM', P .. 'unknown', name)   -- all that waited for it has ended
    end
  end
  local left = TICK_LIMIT
  for _, name in ipairs(call('ZRANGEBYSCORE', P .. 'unknown', '-inf', now, 'LIMIT', 0, TICK_LIMIT)) do
    local next
    for _, side in ipairs({'c0', '0', 'c1', '1', 'c2', '2'}) do
      local entry = first_aside(side, name)
      if not entry then
        call('ZREM', P .. 'lines:' .. side, name)
      end
      while entry do
        local serial, nonce, id = aside_parts(entry, name)
        local ends = math.floor((tonumber(serial) or 0) / 1000) + grace
        if ends > now or left == 0 then
          next = math.min(next or ends, ends)
          break
        end
        step_out(side, name, entry)
        left = left - 1
        local T = task(id)
        if T and T.s == ENQUEUED and T.n == nonce and T.L == serial then
          T.L = '-'
          call('HSET', P .. 't:' .. id, 'L', '-')
          line_up(id, T, front)
        else
          count('dead', -1)
        end
        entry = first_aside(side, name)
      end
    end
    if next then
      call('ZADD', P .. 'unknown', text(next), name)
    else
      call('ZREM', P .. 'unknown', name)
    end
  end
  return left == 0
end

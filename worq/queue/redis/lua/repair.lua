-- repair(P; {kind, name, number}, ...) -> n
-- any -> as it should be; a task whose record is damaged -> completed, or forgotten
-- Each is looked at again here, for who found it may have read while it changed. Without any it
-- answers 1 if programs of a newer revision use the queue: then what we do not know stays.
if #ARGV == 0 then
  return newer and 1 or 0
end
insist()
local TYPES = {t = 'hash', pool = 'hash', on = 'zset', b = 'string', r = 'string', w = 'set', a = 'list',
               s = 'hash', d = 'list', u = 'list', bell = 'list', fh = 'hash', fb = 'string', fa = 'list', fs = 'hash', fd = 'list', fr = 'list', min = 'hash', tally = 'string', ['in'] = 'list', x = '?'}
local FIELDS = 'hbcdmlpuvxgwakqjyzGSL'   -- that go when a task ends
local NAMES = {sched = SCHEDULED, lease = PROCESSING, wait = PENDING}
local NUMBERS = {'e', 'd', 'f', 'm', 'l', 'p', 'i', 'u', 't', 'v', 'g', 'a', 'c', 'q',
                 'z', 'K'}

-- Whether a key is there; one of the wrong type is not, any more.
local function has(kind, id)
  local key = P .. kind .. ':' .. id
  local found = call('TYPE', key).ok
  if found ~= 'none' and found ~= TYPES[kind] then
    drop(key)
    return false
  end
  return found ~= 'none'
end

local function sane(T)
  for _, name in ipairs(NUMBERS) do
    if T[name] and not (T[name]:match('^%d+$') and #T[name] <= 15) then
      return false
    end
  end
  if tonumber(T.m or 1) > TIMES or math.max(tonumber(T.l or 0), tonumber(T.t or 0)) > SPAN then
    return false   -- no call can have asked for that
  end
  return T.n and #T.n == NONCE and (T.s or ''):match('^[pseac]$')
    and ((T.L or '-') == '-' or #T.L == SERIAL and T.L:match('^%d+$'))
    and (T.p or '1'):match('^[012]$') and (T.s == COMPLETED or T.h or T.c)
    and (T.s ~= PROCESSING or T.e and T.q)
end

local function tell_later(id)   -- its dependents, that its outcome was lost
  call('RPUSH', P .. 'rel', id)
  call('HSET', KEYS[1], 'more', 1)
  meta[4] = '1'
end

local function bury(id)
  local clients = has('w', id) and call('SMEMBERS', P .. 'w:' .. id) or {}
  table.insert(clients, has('t', id) and call('HGET', P .. 't:' .. id, 'w') or nil)
  for _, client in ipairs(clients) do
    news[client] = news[client] or {}
    table.insert(news[client], 'n' .. #id .. ':' .. id)
  end
  drop(P .. 't:' .. id, P .. 'b:' .. id, P .. 'r:' .. id, P .. 'a:' .. id, P .. 's:' .. id,
       P .. 'w:' .. id)
  for _, index in ipairs({'sched', 'lease', 'wait', 'exp'}) do
    call('ZREM', P .. index, id)
  end
  if has('d', id) then
    tell_later(id)
  end
end

-- What a pending task waits for: what it has returned, or its arguments and the gate.
local function sources(id, T)
  if T.x then
    return {T.x, T.G}   -- both of one that has been moved
  end
  local found = call('LRANGE', P .. 'a:' .. id, 0, -1)
  table.insert(found, T.G)
  return found
end

local function knows(source, id, T)
  return has('d', source) and call('LPOS', P .. 'd:' .. source, T.n .. id)
end

-- Whether what a pending task waits for knows of it, and it counts right.
local function awaited(id, T)
  local n, all = 0, sources(id, T)
  for _, source in ipairs(all) do
    if knows(source, id, T) then
      n = n + 1
    end
  end
  return n > 0 and n == (T.x and #all or tonumber(T.u or 0))
end

-- All that a pending task waits for is made to know of it again. What is done or gone by now tells
-- it once more, and so it goes on or fails.
local function rejoin(id, T)
  local n = 0
  for _, source in ipairs(sources(id, T)) do
    n = n + 1
    if not knows(source, id, T) then
      call('RPUSH', P .. 'd:' .. source, T.n .. id)
    end
    local s = has('t', source) and call('HGET', P .. 't:' .. source, 's')
    if not s or s == COMPLETED then
      tell_later(source)
      persist(P .. 't:' .. source)
      persist(P .. 'r:' .. source)
    else
      call('HSET', P .. 't:' .. source, 'k', 1)
    end
  end
  if not T.x or T.G then
    call('HSET', P .. 't:' .. id, 'u', T.x and 1 or n)
  end
  if T.x then   -- whoever wrote that may have closed a circle, and it is looked for as after a tail call
    call('RPUSH', P .. 'loops', T.n .. id)
    call('HSET', KEYS[1], 'more', 1)
    meta[4] = '1'
  end
  return n > 0
end

local function seat_live(id, T)
  persist(P .. 't:' .. id)
  local n = call('LLEN', P .. 'a:' .. id)
  local whole = n == tonumber(T.a or 0) and (T.x or T.b or has('b', id))
    and (T.s == PENDING or not T.G)
  T.a = n > 0 and n or nil
  T.w = T.w or has('w', id) and call('SRANDMEMBER', P .. 'w:' .. id) or nil
  if T.w then
    call('HSET', P .. 't:' .. id, 'w', T.w)
  end
  if (tonumber(T.g or 0)) > purges then   -- `m` was lost; it is of no purge that is yet to come
    call('HSET', P .. 't:' .. id, 'g', purges)
  end
  if not whole or T.s == PENDING and not awaited(id, T) and not rejoin(id, T) then
    T.damaged = T.g or '0'
    return finish(id, T, verdict(id, T, 'x', DAMAGED))
  elseif T.s == ENQUEUED then
    local aside = T.L and T.L ~= '-'
    local entry = aside and aside_member(id, T, name_of(id, T))
    if aside and not call('ZSCORE', P .. 'aside:' .. side_of(T), entry) then
      call('HDEL', P .. 't:' .. id, 'L')
      T.L, aside = nil, false
    end
    if not aside and not call('LPOS', P .. lane_of(T), T.n .. id) then
      line_up(id, T, back)
    end
  elseif not call('ZSCORE', P .. INDEX[T.s], id) then
    -- A pool that lives, and has it, renews its lease before that is over.
    call('ZADD', P .. INDEX[T.s], T.s == PROCESSING and now + SEATED or now, id)
  end
  if T.z and T.s ~= PROCESSING then
    call('ZADD', P .. 'exp', T.z, id)
  end
end

local function seat_done(id, T)
  local key = P .. 't:' .. id
  for name in pairs(T) do
    if not KEPT[name] and name ~= 'r' and (not newer or FIELDS:find(name, 1, true)) then
      call('HDEL', key, name)
    end
  end
  local letter = (T.r or has('r', id)) and kind(id, T) or ''
  if not letter:match('^[vfxcVFXC]$') then
    T.r = T.n .. 'x?\nits outcome was lost'
    call('HSET', key, 'r', T.r)
  end
  if T.r then   -- a long one beside it is of an end that was undone
    drop(P .. 'r:' .. id)
  end
  if has('d', id) then
    tell_later(id)
  end
  persist(key)
  persist(P .. 'r:' .. id)
  if call('HGET', key, 'i') == '0' then
    call('HDEL', key, 'i')
  end
  let_end(id)
end

local function seat(id)
  for _, kind in ipairs({'a', 'b', 'd', 'r', 's', 'w'}) do
    has(kind, id)
  end
  local T = has('t', id) and read(id)
  local oversize = T and T.damaged
  if oversize then
    T.g = nil
  end
  if not T or not sane(T) then
    return bury(id)
  end
  T.g = oversize and '-1' or T.g
  T = meet(id, T)
  if T and T.s == COMPLETED then
    seat_done(id, T)
  elseif T then
    seat_live(id, T)
  end
end

local function own(kind, id)
  if not has(kind, id) then
    return
  elseif #kind > 1 then   -- no part of a task: it has an end
    expire(now + INBOX_TTL * 1000, P .. kind .. ':' .. id)
  elseif kind == 'u' then
    if not call('LPOS', P .. 'unpin', id) then   -- what it names is pinned until it is let go
      call('RPUSH', P .. 'unpin', id)
      call('HSET', KEYS[1], 'more', 1)
      meta[4] = '1'
    end
  elseif has('t', id) then
    seat(id)
    local s = call('HGET', P .. 't:' .. id, 's')
    if kind ~= 'd' and (kind == 'r') ~= (s == COMPLETED) then
      drop(P .. kind .. ':' .. id)
    end
  elseif kind == 'd' then
    tell_later(id)
  else
    drop(P .. kind .. ':' .. id)
  end
end

for i = 1, #ARGV, 3 do
  local kind, name, number = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if kind == 't' then
    seat(name)
  elseif kind == 'pins' then
    if has('t', name) then
      call('HSET', P .. 't:' .. name, 'i', number)
      seat(name)
    end
  elseif NAMES[kind] then
    local T = has('t', name) and read(name)
    if not T or T.s ~= NAMES[kind] then
      call('ZREM', P .. kind, name)
    else
      call('ZADD', P .. kind, kind == 'lease' and now + SEATED or now, name)
    end
  elseif kind == 'exp' then
    if not (has('t', name) and call('HEXISTS', P .. 't:' .. name, 'z') == 1) then
      call('ZREM', P .. 'exp', name)
    end
  elseif kind == 'lines' then   -- of a side, by its entries
    drop(P .. 'lines:' .. name)
    for _, entry in ipairs(call('ZRANGE', P .. 'aside:' .. name, '0', '-1')) do
      local whose, serial = entry:match('^([^\n]*)\n(' .. ('%d'):rep(SERIAL) .. ')')
      if whose then
        call('ZADD', P .. 'lines:' .. name, 'NX', serial, whose)
      end
    end
  elseif kind == 'noted' then   -- by the registers themselves
    drop(P .. 'noted')
    local names = {}
    for _, register in ipairs(call('HKEYS', P .. 'note')) do
      names[#names + 1], names[#names + 2] = 0, register
    end
    push('ZADD', P .. 'noted', names)
  elseif kind == 'paused' then
    mix()
  elseif kind == 'more' then
    meta[4] = '1'
    call('HSET', KEYS[1], 'more', 1)
  elseif kind == 'end' then
    persist(P .. name)
  elseif kind == 'dead' then
    count('dead', tonumber(name))
  else
    own(kind, name)
  end
end
defer()   -- what follows is done by ticks, when all is mended that they meet
return #ARGV / 3

-- One end for every cause, and what it leaves to be done, in bounded steps.
local budget = BUDGET
local moment, usual_end = text(now), text(now + RESULT_TTL)
local todo, at = {}, 1   -- completed tasks whose dependents are to be told; the next of them

-- When the outcome of a task ends from now on. One that has been an argument, and is none now, goes
-- at once; but a failure is named by what has failed with it.
local function end_moment(id, T)
  local ms = T.t and sensible(T.t)
  if needed_only(T.f) and lent(T.f) and kind(id, T):match('[vV]') then
    return text(now + math.min(ms or TICK, TICK))
  end
  return ms and text(now + ms) or usual_end
end

-- The outcome of a completed task ends unless something pins it or has yet to be told of it.
local function let_end(id)
  local key = P .. 't:' .. id
  local s, pins, ttl, short, f = unpack(call('HMGET', key, 's', 'i', 't', 'r', 'f'))
  if s == COMPLETED and not pins and call('EXISTS', P .. 'd:' .. id) == 0 then
    local moment = end_moment(id, {t = ttl, f = f, r = short})
    expire(moment, key)
    if not short then
      expire(moment, P .. 'r:' .. id)
    end
  end
end

-- Somebody asks for it, so it is kept for its time, needed or not. Answers its flags.
local function keep(id, f)
  f = f - NEEDED
  if f == 0 then
    call('HDEL', P .. 't:' .. id, 'f')
    return nil
  end
  f = text(f)
  call('HSET', P .. 't:' .. id, 'f', f)
  return f
end

-- A live task keeps a count of 0: it has edges, though they lead to what waits no more. What has failed
-- and is kept may need it again, so it is kept for its time, and entered in `noted`.
local function unpin(id, noted)
  local key = P .. 't:' .. id
  if noted then
    local n, f = unpack(call('HMGET', key, 'n', 'f'))
    noted[#noted + 1] = n and n .. id or nil
    if needed_only(f) then
      keep(id, f)
    end
  end
  local s, pins, nonce = unpack(call('HMGET', key, 's', 'i', 'n'))
  if not pins or s == COMPLETED and (tonumber(pins) or 0) <= 1 or not add(key, 'i', '-1') then
    call('HDEL', key, 'i')
    let_end(id)
  end
  budget = budget - 1
  return nonce
end

-- A life that is named for people by one that has no edges any more: see `relatives` in family.lua.
local function relative(id, nonce)
  return not nonce and '' or id == nonce and '=' .. id or #id .. ':' .. nonce .. id
end

-- The list is renamed where it is too long for now, for the id may soon have a new life.
local function let_go(id, T)
  local key, n, kept, noted = P .. 'a:' .. id, tonumber(T.a), {}, nil
  if not (n and n % 1 == 0 and n >= 0) then
    n = call('LLEN', key)
  end
  if n > math.max(budget, 1) then
    if call('EXISTS', key) == 0 then   -- the count is not ours, or somebody has deleted the list
      return
    end
    for i, argument in ipairs(call('LRANGE', key, '0', KIN - 1)) do
      kept[i] = relative(argument, call('HGET', P .. 't:' .. argument, 'n'))
    end
    call('RENAME', key, P .. 'u:' .. T.n .. id)
    call('RPUSH', P .. 'unpin', T.n .. id)
    call('HSET', KEYS[1], 'more', 1)
    meta[4] = '1'
  else
    noted = T.K and {}
    for i, argument in ipairs(call('LPOP', key, n) or {}) do
      local nonce = unpin(argument, noted)
      kept[i] = i <= KIN and relative(argument, nonce) or nil
    end
  end
  if noted then
    let_off(T.K, noted)
  end
  if not ignored(T) then
    call('HSET', P .. 't:' .. id, 'Y', text(n) .. ';' .. table.concat(kept))
  end
end

-- `owner` stays if it gave this outcome, so that it hears 'again' when it gives it twice.
local INDEX = {[PENDING] = 'wait', [SCHEDULED] = 'sched', [PROCESSING] = 'lease'}
local KEPT = {s = 1, n = 1, e = 1, o = 1, f = 1, t = 1, i = 1, h = 1, C = 1, R = 1, q = 1, A = 1, E = 1,
              B = 1, D = 1, K = 1, W = 1, X = 1, Y = 1}

local function when(T)
  if T.B then
    return 'E', T.E, 'B', T.B
  end
  return 'E', T.E
end

-- What a pool has settled is `told` by it, see `tally`; of all else its name is counted here.
local function finish(id, T, record, owner, told)
  local key = P .. 't:' .. id
  local named = (T.c or not told) and header(id, T):match('^[^\n]*')
  local name = T.c and not ignored(T) and named
  if T.s == ENQUEUED and not T.R and not T.q then
    T.R = T.C
  end
  if T.s == PROCESSING then
    done[#done + 1] = id
  elseif INDEX[T.s] then
    call('ZREM', P .. INDEX[T.s], id)
  elseif T.s == ENQUEUED and not purged(T.damaged and {s = T.s, g = T.damaged} or T)
      and not leave_line(id, T, named) then
    count('dead')   -- its entry stays in a ready list, to be skipped
  end
  if T.z then
    call('ZREM', P .. 'exp', id)
  end
  local letter, listed = record:sub(NONCE + 1, NONCE + 1):lower(), nil
  if (letter == 'f' or letter == 'x') and not ignored(T) and not is_gate(T) then
    preserve(id, T, record)
  end
  if not T.b and not T.K then   -- it is too long for the hash
    drop(P .. 'b:' .. id)
  end
  if not is_gate(T) then
    count(letter)
    if not told then
      ended_by[letter .. named] = (ended_by[letter .. named] or 0) + 1
    end
    -- Not what was purged: that may be a million, and all others would go for it.
    if letter ~= 'v' and not ignored(T) and not (letter == 'c' and purged(T)) then
      fallen = fallen or {}
      listed = fallen[letter] or {ends = '0'}
      fallen[letter] = listed
      listed[#listed + 1], listed[#listed + 2] = moment, T.n .. id
    end
  end
  local target = T.x and not purged(T) and relative(T.x, call('HGET', P .. 't:' .. T.x, 'n')) or ''
  T.s = COMPLETED
  local edges = (T.i or T.k) and call('EXISTS', P .. 'd:' .. id) == 1
  if ignored(T) then
    drop(key)
    record = nil
  else
    local ended = {'b', not owner and 'o' or nil}
    -- Since it was read a dependent may have ended, and so let go of it, in this very step.
    T.i = T.i and call('HGET', key, 'i')
    if T.i == '0' then
      table.insert(ended, 'i')
      T.i = nil
    end
    for name in pairs(T) do
      if not KEPT[name] and name ~= 'b' then
        ended[#ended + 1] = name
      end
    end
    if T.w and T.f == ALONE then
      ended[#ended + 1], T.f = 'f', nil
    end
    call('HDEL', key, unpack(ended))
    if target ~= '' then
      call('HSET', key, 'X', target)
    end
    T.E = moment
    if #record <= FIELD then
      call('HSET', key, 's', COMPLETED, 'r', record, when(T))
      T.r = record
    else
      call('HSET', key, 's', COMPLETED, when(T))
      call('SET', P .. 'r:' .. id, record)
    end
    if T.w and needed_only(T.f) then
      T.f = keep(id, T.f)
    end
    if name then   -- the header was in the key of the body
      T.h = name
      call('HSET', key, 'h', name)
    end
    if T.R and not T.q then
      call('HSET', key, 'R', T.R)
    end
    if T.K then
      call('HSET', key, 'K', T.K)
    end
    T.o = owner and T.o
    if listed and (edges or T.i) then
      listed.ends = nil
    end
    if edges then
      table.insert(todo, id)
    elseif not T.i then
      local moment = end_moment(id, T)
      expire(moment, key)
      if not T.r then
        expire(moment, P .. 'r:' .. id)
      end
      if listed and listed.ends and tonumber(moment) > tonumber(listed.ends) then
        listed.ends = moment
      end
    end
  end
  if T.w then
    tell(id, T, record)
  end
  if T.a then
    drop(P .. 's:' .. id)
    let_go(id, T)
  end
end

-- What most tasks come to: a short value, and nobody waits for it. As `finish`, without looks at what
-- is not there; answers whether it was so.
local function finish_plain(id, T, record)
  if #record > FIELD or record:sub(NONCE + 1, NONCE + 1) ~= 'v' or not (T.b and T.h)
      or T.f and T.f ~= ALONE or T.w or T.i or T.k or T.a or T.x or T.y or T.z or T.d or T.j or T.v
      or T.u or T.S or T.K or T.L then
    return false
  end
  local key = P .. 't:' .. id
  done[#done + 1] = id
  count('v')
  if T.g or T.p or T.l or T.m then
    call('HDEL', key, 'b', 'g', 'p', 'l', 'm')
  else
    call('HDEL', key, 'b')
  end
  if T.B then
    call('HSET', key, 's', COMPLETED, 'r', record, 'E', moment, 'B', T.B)
  else
    call('HSET', key, 's', COMPLETED, 'r', record, 'E', moment)
  end
  expire(T.t and end_moment(id, T) or usual_end, key)
  return true
end

-- A task as it is when it is met: one that was purged, or is too late to begin, ends now.
-- A task that has made its tail call has begun. Who gave it back may do so again, so it keeps
-- its owner.
local function meet(id, T)
  if purged(T) then
    finish(id, T, T.damaged and verdict(id, T, 'x', DAMAGED)
           or verdict(id, T, 'c', 'cancelled: the queue was purged'))
  elseif T.z and not T.x and T.s ~= COMPLETED and T.s ~= PROCESSING and (tonumber(T.z) or 0) <= now then
    local text = 'expired before it was begun' .. (T.e and ' again' or '')
    finish(id, T, verdict(id, T, 'x', text), T.o)
  else
    return T
  end
  return not ignored(T) and T or nil
end

local function task(id)
  local T = read(id)
  return T and meet(id, T)
end

-- The end of a verb that only looks at tasks. It may have ended some that it met; what
-- follows from that is left to others, lest its second answer differ from the first.
local function defer()
  if todo[1] then
    push('RPUSH', P .. 'rel', todo)
    call('HSET', KEYS[1], 'more', 1)
    meta[4] = '1'
  end
  flush()
end

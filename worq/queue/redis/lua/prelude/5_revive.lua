-- A failure that is run again: the same life, its next delivery.

-- Which arguments it had, as names; or a word why it cannot have them again, and with 'failed' the
-- numbers of the failures that prevent it. `open` are those of them that are live.
local function arguments_again(id, T, F)
  local names, open, failures = {}, {}, {}
  local n = attempt('LLEN', P .. 'fa:' .. T.K)
  budget = budget - 1
  if n ~= positive(F.a) or n > PUT_LIMIT then
    return nil, 'arguments'
  end
  for i, entry in ipairs(call('LRANGE', P .. 'fa:' .. T.K, '0', '-1')) do
    local name = entry:sub(NONCE + 1)
    local A = task(name)
    local letter = A and A.s == COMPLETED and kind(name, A):lower()
    budget = budget - 1
    if not A or A.n ~= entry:sub(1, NONCE) or ignored(A) or is_gate(A) or letter == '' then
      return nil, 'arguments'
    elseif letter and letter ~= 'v' and (tonumber(T.f or 0) or 0) % GATE < PASS then
      failures[#failures + 1] = A.K or ''
    elseif not letter then
      open[#open + 1] = name
      -- One that was live already when it failed still has the edge from then.
      if (tonumber(A.C) or 0) <= (tonumber(T.E) or 0) + TICK then
        budget = budget - math.floor(call('LLEN', P .. 'd:' .. name) / 100)
        open[name] = call('LPOS', P .. 'd:' .. name, T.n .. id) and true or nil
      end
    end
    names[i] = name
  end
  if failures[1] then
    return nil, 'failed', failures
  end
  return names, open
end

-- It is as if the task were put now, and has nothing of its earlier deliveries but their number.
local function restore(id, T, F, head, body)
  local key, life = P .. 't:' .. id, P .. 'f%s:' .. T.K
  local long = head ~= '' and #head > FIELD or head == '' and F.c
  local fields = {'C', text(now), long and 'c' or 'h', head ~= '' and (long and #head or head) or F.c or F.h}
  local function set(name, value)
    if value then
      fields[#fields + 1], fields[#fields + 2] = name, value
    end
  end
  call('HDEL', key, 'r', 'E', 'B', 'o', 'K', 'A', 'q', 'R', 'i', 'W', 'X', 'Y', long and 'h' or 'c')
  drop(P .. 'r:' .. id)
  persist(key)
  call('ZREM', P .. 'over:f', T.n .. id)
  call('ZREM', P .. 'over:x', T.n .. id)
  if head ~= '' and (long or #body > FIELD) then
    call('SET', P .. 'b:' .. id, long and head .. body or body)
  elseif head ~= '' then
    set('b', body)
  elseif F.b then
    set('b', F.b)
  else
    persist(life:format('b'))
    call('RENAME', life:format('b'), P .. 'b:' .. id)
  end
  set('p', F.p)
  set('l', F.l)
  set('m', F.m)
  set('d', T.e and '0')
  if call('EXISTS', life:format('s')) == 1 then
    persist(life:format('s'))
    call('RENAME', life:format('s'), P .. 's:' .. id)
  end
  for name, value in pairs({h = fields[3] == 'h' and fields[4] or nil, c = fields[3] == 'c' and fields[4] or nil,
                            p = F.p, l = F.l, m = F.m, C = text(now)}) do
    T[name] = value
  end
  T.z = F.z and text(now + positive(F.z))
  if T.z then
    set('z', T.z)
    call('ZADD', P .. 'exp', T.z, id)
    due_at(now + positive(F.z))
  end
  for _, name in ipairs({'r', 'E', 'B', 'o', 'q', 'R', 'A', long and 'h' or 'c'}) do
    T[name] = nil
  end
  return fields
end

-- Pins the arguments of one that was restored.
local function pin_again(id, T, names)
  T.a = names[1] and #names or nil
  push('RPUSH', P .. 'a:' .. id, names)
  for _, name in ipairs(names) do
    local source = P .. 't:' .. name
    call('HINCRBY', source, 'i', '1')
    local s, f = unpack(call('HMGET', source, 's', 'f'))
    if needed_only(f) and not lent(f) then
      call('HSET', source, 'f', text(f + LENT))
    end
    if s == COMPLETED then
      persist(source)
      persist(P .. 'r:' .. name)
    end
  end
end

-- What expired while it was ready has left an entry, which would be one of this life again.
local function leave_lane(id, T)
  local lane = P .. lane_of(T)
  if (tonumber(call('HGET', KEYS[1], 'dead')) or 0) > 0 then
    budget = budget - math.floor(call('LLEN', lane) / 100)
    count('dead', -call('LREM', lane, 1, T.n .. id))
  end
end

-- Runs a failure again, if that is possible; a word, and with 'failed' the numbers of what prevents it.
-- With `followers`, what failed because of it will be, too.
local function revive(id, T, F, head, body, followers, priority)
  if T.i or call('EXISTS', P .. 'd:' .. id, P .. 'u:' .. T.n .. id) > 0 then
    return 'pinned'
  elseif not F.b and call('EXISTS', P .. 'fb:' .. T.K) == 0 then
    return 'gone'
  end
  local names, open, failures = arguments_again(id, T, F)
  if not names then
    return open, failures
  end
  local key, number, target = P .. 't:' .. id, positive(T.K), nil
  if F.x then
    local n, s, f = unpack(call('HMGET', P .. 't:' .. F.x, 'n', 's', 'f'))
    local U = {f = f or nil}
    target = n == F.X and s and s ~= COMPLETED and not ignored(U) and not is_gate(U) and F.x
  end
  local expired = kind(id, T):lower() == 'x'
  local fields = restore(id, T, F, head, body)
  pin_again(id, T, names)
  if expired then
    leave_lane(id, T)
  end
  local n = #fields
  if priority and priority ~= '-1' then
    T.p, fields[n + 1], fields[n + 2] = priority, 'p', priority
    n = n + 2
  end
  fields[n + 1], fields[n + 2] = 's', PENDING
  if T.a then
    fields[n + 3], fields[n + 4] = 'a', T.a
  end
  n = #fields
  if target then
    fields[n + 1], fields[n + 2] = 'x', target
    if F.S then
      fields[n + 3], fields[n + 4] = 'S', F.S
    end
    open = {target}
  elseif open[1] then
    fields[n + 1], fields[n + 2] = 'u', #open
  end
  call('HSET', key, unpack(fields))
  if purges > 0 then
    call('HSET', key, generation(T))
  end
  T.s, T.K = PENDING, nil
  for _, name in ipairs(open) do
    if not open[name] then
      call('RPUSH', P .. 'd:' .. name, T.n .. id)
      call('HSET', P .. 't:' .. name, 'k', 1)
    end
  end
  if open[1] then
    call('ZADD', P .. 'wait', text(now), id)
  else
    enqueue(id, T, back)
  end
  local follow = P .. 'fd:' .. text(number)
  if followers and call('EXISTS', follow) == 1 then
    persist(follow)
    call('RENAME', follow, P .. 'fr:' .. text(number))
    expire(F.e, P .. 'fr:' .. text(number))
    call('RPUSH', P .. 'again', text(number))
    call('HSET', KEYS[1], 'more', 1)
    meta[4] = '1'
  end
  drop_failure(number)
  return 'revived'
end

-- Goes on with what failed because of what was run again: of the failure N, `fr:N` has their numbers. One
-- that comes again behind its arguments is marked.
local function revive_some()
  local origin = budget > 0 and call('LINDEX', P .. 'again', 0)
  while origin do
    local key = P .. 'fr:' .. origin
    local entry = call('LPOP', key)
    budget = entry and budget or budget - 1
    local number, tried = (entry or ''):match('^(%d+)(!?)$')
    local id, ends = unpack(number and call('HMGET', P .. 'fh:' .. number, 'i', 'e') or {})
    local T = id and task(id)
    local F = T and T.s == COMPLETED and T.K == number and failure_of(T)
    if not entry then
      call('LPOP', P .. 'again')
    elseif F then
      local _, failures = revive(id, T, F, '', '')
      local first = {}
      for i = #(failures or {}), 1, -1 do
        local O = call('HGET', P .. 'fh:' .. failures[i], 'O')
        if O == origin then
          first[#first + 1] = failures[i]
        end
      end
      if tried == '' and first[1] then
        call('LPUSH', key, number .. '!', unpack(first))
        expire(ends, key)
      end
    end
    origin = budget > 0 and call('LINDEX', P .. 'again', 0)
  end
end

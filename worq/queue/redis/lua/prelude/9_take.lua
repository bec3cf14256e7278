-- From the ready lists into the hands of a pool.

-- The outcomes of a task's arguments as id, outcome, ...; of a long one how long it is, and false
-- once there is no room left.
-- Of many, only how many they are: then the client fetches them in steps. The next task waits for
-- the next take if there is no room left, lest the client fetch what one that is soon would bring.
-- Nil if the list is not as long as the record says, or an outcome is gone.
local room = INLINE
local function arguments(id, T)
  local list, n = {}, tonumber(T.a or 0)
  if not n or n % 1 ~= 0 or n > BUDGET then
    return n and call('LLEN', P .. 'a:' .. id) == n and n or nil
  end
  local names = T.a and call('LRANGE', P .. 'a:' .. id, '0', text(n)) or {}
  if #names ~= n then
    return nil
  end
  for _, argument in ipairs(names) do
    local raw = room > 0 and call('HGET', P .. 't:' .. argument, 'r')
    if not raw and room > 0 then
      local size = call('STRLEN', P .. 'r:' .. argument)
      if size == 0 then
        return nil
      end
      raw = size > room and size or call('GET', P .. 'r:' .. argument)
    end
    room = room - (type(raw) == 'string' and #raw or 0) - INLINE / CARRIED
    table.insert(list, argument)
    table.insert(list, raw)
  end
  return list
end

-- The body, or how long it is and where it begins in its key: then the client fetches it by itself.
-- Nil if it is gone.
local function body(id, T)
  if T.b then
    return T.b, 0
  end
  local key, start = P .. 'b:' .. id, tonumber(T.c or 0)
  local size = call('STRLEN', key)
  if size == 0 or not start or start % 1 ~= 0 or start < 0 or size < start then
    return nil
  elseif size - start > INLINE then
    return size - start, start
  end
  local bytes = call('GETRANGE', key, start, -1)
  room = room - #bytes / BODIES
  return bytes, start
end

-- Of each priority what has arguments goes first: from `q:c0` and so on, but no more than OVERTAKEN
-- of these before the first of the others. A queue of only those pays for one look.
-- Entries whose life is over, or that are taken, cost budget, so that a step stays bounded.
local function take(pool, limit, lease)
  work()
  flush_ready()
  if stopped() then
    drop(P .. 'wake')
    return {}
  end
  local taken, leases = {}, {}
  local usual = text(now + lease)
  -- Gives it to the pool, if it is still that life, and whole; answers whether it was.
  local function hand(id, nonce, T)
    if not (T and T.s == ENQUEUED and T.n == nonce) then
      return false
    end
    local plain = T.h and T.b and not T.a and not T.y
    local bytes, start, list
    if not plain then
      bytes, start = body(id, T)
      list = arguments(id, T)
      if bytes == nil or list == nil then
        finish(id, T, verdict(id, T, 'x', DAMAGED))
        return false
      end
    end
    local d, e = deliveries(T) + 1, T.e and text((sensible(T.e) or 0) + 1) or '1'
    call('HSET', P .. 't:' .. id, 's', PROCESSING, 'e', e, 'o', pool, 'q', moment)
    if T.j then
      call('HDEL', P .. 't:' .. id, 'j')
    end
    if T.d then   -- it is not the epoch, as it is for most tasks
      call('HSET', P .. 't:' .. id, 'd', d)
    end
    leases[#leases + 1] = T.l and sensible(T.l) and now + T.l or usual
    leases[#leases + 1] = id
    local waited = now - (tonumber(T.R or T.C) or now)
    waited = waited > 0 and waited <= SPAN and waited or 0   -- others may have written it
    if plain then
      local k = #taken
      taken[k + 1], taken[k + 2], taken[k + 3] = id, nonce .. e, d
      taken[k + 4], taken[k + 5], taken[k + 6] = T.h, T.b, waited
    else
      taken[#taken + 1] = {id, nonce .. e, d, header(id, T), bytes, start, list, waited, T.y}
    end
    return true
  end

  local p, skips = 0, BUDGET
  if meta[7] == '1' then
    names_anew()
    while p <= 2 and #leases / 2 < limit and skips > 0 and room > 0 do
      local left
      left, skips = by_name(pool, p, hand, skips)
      p = left and p or p + 1
    end
  end

  local choose
  if meta[7] ~= '1' and call('EXISTS', P .. 'q:c0', P .. 'q:c1', P .. 'q:c2') > 0 then
    -- The lane to go on with, how many of it at most; and how many have overtaken what is first in
    -- the other lane so far, and whose nonce is the last.
    choose = function(most)
      local deep, fresh = 'q:c' .. p, 'q:' .. p
      if call('EXISTS', P .. deep) == 0 then
        return fresh, most
      end
      local entry = call('LINDEX', P .. fresh, 0)
      while entry and skips > 0 do
        local id, nonce = entry:sub(NONCE + 1), entry:sub(1, NONCE)
        local T = task(id)
        if T and T.s == ENQUEUED and T.n == nonce then
          local times, whose = (call('HGET', KEYS[1], 'passed' .. p) or ''):match('^(%d%d?) (.*)$')
          local passed = whose == nonce and tonumber(times) or 0
          if passed >= OVERTAKEN then
            return fresh, 1
          end
          return deep, math.min(most, OVERTAKEN - passed), passed, nonce
        end
        call('LPOP', P .. fresh)
        count('dead', -1)
        skips = skips - 1
        entry = call('LINDEX', P .. fresh, 0)
      end
      return deep, most
    end
  end
  while meta[7] ~= '1' and p <= 2 and #leases / 2 < limit and skips > 0 and room > 0 do
    local before = #leases / 2
    local lane, most, passed, first = 'q:' .. p, limit - before, nil, nil
    if choose then
      lane, most, passed, first = choose(most)
    end
    lane = P .. lane
    local n = 0
    for i, entry in ipairs(call('LRANGE', lane, 0, math.min(most, BUDGET) - 1)) do
      n = i
      local nonce, id = entry:sub(1, NONCE), entry:sub(NONCE + 1)
      if not hand(id, nonce, task(id)) then
        count('dead', -1)
        skips = skips - 1
      end
      if room <= 0 then
        break
      end
    end
    if n > 0 then
      call('LTRIM', lane, n, -1)
    else
      p = p + 1
    end
    if passed and #leases / 2 > before then
      call('HSET', KEYS[1], 'passed' .. p, ('%d %s'):format(passed + #leases / 2 - before, first))
    end
  end
  push('ZADD', P .. 'lease', leases)
  if p > 2 then
    drop(P .. 'wake')   -- nothing is left, so these tokens are stale
  elseif call('EXISTS', P .. 'wake') == 0
      and any_ready() then
    wake(1)             -- the baton
  end
  return taken
end

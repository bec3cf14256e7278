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

-- Entries whose life is over, or that are taken, cost budget, so that a step stays bounded.
local function take(pool, limit, lease)
  work()
  flush_ready()
  local taken, leases = {}, {}
  local moment, usual = text(now), text(now + lease)
  local p, skips = 0, BUDGET
  while p <= 2 and #leases / 2 < limit and skips > 0 and room > 0 do
    local lane, last = P .. 'q:' .. p, math.min(limit - #leases / 2, BUDGET) - 1
    local n = 0
    for i, entry in ipairs(call('LRANGE', lane, 0, last)) do
      n = i
      local nonce, id = entry:sub(1, NONCE), entry:sub(NONCE + 1)
      local T = task(id)
      local ready = T and T.s == ENQUEUED and T.n == nonce
      local plain = ready and T.h and T.b and not T.a and not T.y
      local bytes, start, list
      if ready and not plain then
        bytes, start = body(id, T)
        list = arguments(id, T)
        if bytes == nil or list == nil then
          finish(id, T, verdict(id, T, 'x', DAMAGED))
          ready = false
        end
      end
      if ready then
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
        if plain then
          local k = #taken
          taken[k + 1], taken[k + 2], taken[k + 3] = id, nonce .. e, d
          taken[k + 4], taken[k + 5] = T.h, T.b
        else
          taken[#taken + 1] = {id, nonce .. e, d, header(id, T), bytes, start, list, T.y}
        end
      else
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
  end
  push('ZADD', P .. 'lease', leases)
  if p > 2 then
    drop(P .. 'wake')   -- nothing is left, so these tokens are stale
  elseif call('EXISTS', P .. 'wake') == 0
      and call('EXISTS', P .. 'q:0', P .. 'q:1', P .. 'q:2') > 0 then
    wake(1)             -- the baton
  end
  return taken
end

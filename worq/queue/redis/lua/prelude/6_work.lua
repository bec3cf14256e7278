-- Leftover work: dependents to tell, arguments to let go, purged tasks to cancel, long searches.

-- Work that others left comes first: it is older. No more of it is fetched than will be done.
local function work()
  if not meta[4] and not todo[at] then
    return
  end

  -- An edge names a life. One that is over, or waits no more, is not touched. `seen` is what has
  -- been read, for many edges may lead to the same task. Of a task that is gone nobody knows whether
  -- others have renamed its edges, so it is asked who waits.
  local heirs
  local function follow(edge, id, raw, failed, seen, gone)
    local dependent, nonce = edge:sub(NONCE + 1), edge:sub(1, NONCE)
    local T = seen[dependent] or read(dependent)
    seen[dependent] = T
    budget = budget - 1
    T = T and T.n == nonce and meet(dependent, T)
    if not T or T.s ~= PENDING then
      return
    end
    local gate = T.G == id
    local tail = T.x and not gate
    if tail and T.x ~= id then   -- it has been moved, and needed no gate any more
      return
    end
    heirs[#heirs + 1] = edge
    if gone and not gate and not tail and not call('LPOS', P .. 'a:' .. dependent, id) then
      return
    end
    if tail and sign_anew(dependent, T, id, T.S or '', raw) then
      met[#met + 1] = dependent
      return
    elseif tail or (failed and (gate or (tonumber(T.f or 0) or 0) % GATE < PASS)) then
      local seal = tail and T.S or not T.x and call('HGET', P .. 's:' .. dependent, id) or ''
      return finish(dependent, T, inherit(nonce, seal, id, raw), T.x and T.o)
    end
    local key = P .. 't:' .. dependent
    if T.x then   -- it has been moved, and waits for its tail call now
      T.u, T.G = nil, nil
      return call('HDEL', key, 'u', 'G')
    end
    local open = tonumber(T.u or 0)
    if open and open > 1 then
      T.u, T.G = add(key, 'u', '-1'), not gate and T.G or nil
      if T.u then
        return gate and call('HDEL', key, 'G')
      end
    end
    met[#met + 1] = dependent
    call('HDEL', key, 'u', 'v', 'G')
    local due = T.v and tonumber(T.v)   -- a moment: as such it is more than any span
    if due and due > now and due <= now + REACH then
      schedule(dependent, T, due)
    else
      enqueue(dependent, T, back)
    end
  end

  -- What is to be told goes to the list of all, behind what is older or back to the front.
  local function shelve(verb)
    local left, first = {}, verb == 'LPUSH'
    for i = first and #todo or at, first and at or #todo, first and -1 or 1 do
      table.insert(left, todo[i])
    end
    push(verb, P .. 'rel', left)
    todo, at = {}, 1
  end

  -- Those that waited for it, the first of them, for people.
  local function remember(id)
    local kept = {}
    for i = 1, math.min(#heirs, KIN) do
      kept[i] = relative(heirs[i]:sub(NONCE + 1), heirs[i]:sub(1, NONCE))
    end
    local n = #heirs + call('LLEN', P .. 'd:' .. id)
    call('HSET', P .. 't:' .. id, 'W', text(n) .. ';' .. table.concat(kept))
  end

  local function tell_some()
    local seen = {}
    while budget > 0 and todo[at] do
      local id = todo[at]
      local edges = call('LPOP', P .. 'd:' .. id, budget)
      if edges then
        local T = read(id)
        local raw = T and outcome(id, T) or (('-'):rep(NONCE) .. 'x\nits outcome was lost')
        local failed = raw:sub(NONCE + 1, NONCE + 1):lower() ~= 'v'
        heirs = {}
        for _, edge in ipairs(edges) do
          follow(edge, id, raw, failed, seen, not T)
        end
        if T and not T.W and heirs[1] then
          remember(id)
        end
      end
      if call('EXISTS', P .. 'd:' .. id) == 0 then
        at = at + 1
        let_end(id)
      end
    end
  end

  local function unpin_some()
    local life = budget > 0 and call('LINDEX', P .. 'unpin', 0)
    while life do
      local arguments = call('LPOP', P .. 'u:' .. life, budget)
      local n, K = unpack(call('HMGET', P .. 't:' .. life:sub(NONCE + 1), 'n', 'K'))
      local noted = K and n == life:sub(1, NONCE) and {}
      for _, argument in ipairs(arguments or {}) do
        unpin(argument, noted)
      end
      if noted then
        let_off(K, noted)
      end
      budget = arguments and budget or budget - 1   -- others may have written any number of names
      if call('EXISTS', P .. 'u:' .. life) == 0 then
        call('LPOP', P .. 'unpin')
      end
      life = budget > 0 and call('LINDEX', P .. 'unpin', 0)
    end
  end

  local function cancel_some()
    local key = budget > 0 and call('LINDEX', P .. 'trash', 0)
    if not key then
      return
    end
    local lane, aside = key:find(':q:', 1, true), key:find(':aside:', 1, true)
    local step = lane and 1 or 2   -- a zset answers members and scores
    local found = call(lane and 'LPOP' or 'ZPOPMIN', P .. key, budget) or {}
    for i = 1, #found, step do
      local id = found[i]
      if aside then   -- behind the name, the number and the nonce
        id = (id:match('^[^\n]*\n(.*)$') or id):sub(SERIAL + NONCE + 1)
      elseif lane then
        id = id:sub(NONCE + 1)
      end
      task(id)
      budget = budget - 1
    end
    if #found == 0 then
      call('LPOP', P .. 'trash')
      budget = budget - 1
    end
  end

  local more = meta[4]
  repeat   -- what is cancelled here has dependents in turn
    local before = budget
    if more then
      shelve('RPUSH')
      todo = budget > 0 and call('LPOP', P .. 'rel', math.min(budget, BUDGET)) or {}
    end
    tell_some()
    if more then
      unpin_some()
      cancel_some()
      seek()
      if not todo[at] and call('EXISTS', P .. 'rel', P .. 'unpin') == 0 then
        revive_some()
      end
    end
  until budget <= 0 or budget == before
  if todo[at] then
    shelve(more and 'LPUSH' or 'RPUSH')
    call('HSET', KEYS[1], 'more', 1)
    meta[4] = '1'
  elseif more and call('EXISTS', P .. 'rel', P .. 'unpin', P .. 'trash', P .. 'loops', P .. 'again') == 0 then
    call('HDEL', KEYS[1], 'more')
    meta[4] = false
  end
end

-- The end of a verb that does some of the work.
local function conclude()
  work()
  flush()
end

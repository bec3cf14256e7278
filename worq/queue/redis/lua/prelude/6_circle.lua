-- Would a tail call wait for itself? Two searches take turns: one from what the task has returned
-- along all that this waits for, one from the task along all that waits for it. Either of them
-- finds a circle, for one that is closed stays as it is; and if one is at its end, there is none. So
-- the shorter one decides: a long chain of tail calls, and a wide fan-in, are long one way only.

-- `from` and `to` are the lives of the task and of what it returned, `units` how much may be done,
-- a quarter for each edge. With `keep`, what is left for the next step stays in keys: stacks of
-- `offset:life`, and sets of what was met. Answers true, false, or nil if it is not known yet; and
-- how many units are left.
local function search(from, to, units, keep)
  local goals = {[0] = from, to}
  local stacks, met = {[0] = {}, {}}, {[0] = {}, {}}   -- `met`: what it has returned in turn, or ''

  local function waiting(name)
    local s, n, g, x = unpack(call('HMGET', P .. 't:' .. name, 's', 'n', 'g', 'x'))
    return s == PENDING and (tonumber(g) or 0) >= purges and n .. name, x or ''
  end

  local function enter(side, life, x)
    if not met[side][life] then
      met[side][life] = x
      if not keep or call('SADD', P .. 'seen' .. side, life) == 1 then
        table.insert(stacks[side], '0:' .. life)
      end
    end
  end

  -- Some edges of the last one on the stack: whether the goal is met; false if the stack is empty.
  local function step(side)
    local entry = table.remove(stacks[side]) or keep and call('RPOP', P .. 'loop' .. side)
    if not entry then
      return false
    end
    local offset, life = entry:match('^(%d+):(.+)$')
    if not life or #offset > 15 then   -- somebody else has written it
      return
    end
    local name, x, found = life:sub(NONCE + 1), met[side][life], {}
    if not x then   -- an earlier step has met it
      local now_here, target = waiting(name)
      x = now_here == life and target
    end
    if x and x ~= '' and side == 0 then
      found = {x}
    elseif x then
      local key = P .. (side == 0 and 'a:' or 'd:') .. name
      found = call('LRANGE', key, offset, offset + EDGES - 1)
      if #found == EDGES then
        table.insert(stacks[side], ('%d:%s'):format(offset + EDGES, life))
      end
    end
    units = units - math.max(#found, 1) / 4
    for _, edge in ipairs(found) do
      local other, more = waiting(side == 0 and edge or edge:sub(NONCE + 1))
      if other and (side == 0 or other == edge) then
        if other == goals[side] then
          return true
        end
        enter(side, other, more)
      end
    end
  end

  if not keep or call('EXISTS', P .. 'seen0') == 0 then
    enter(0, to)
    enter(1, from)
  end
  repeat
    for side = 0, 1 do
      local answer = step(side)
      if answer ~= nil then
        return answer, units
      end
    end
  until units <= 0
  for side = 0, keep and 1 or -1 do
    push('RPUSH', P .. 'loop' .. side, stacks[side])
  end
  return nil, units
end

-- One that would wait for itself ends, as if it had never been delegated.
local function close_circle(id, T, owner)
  T.damaged = true   -- not to be kept: it would come to the same again
  finish(id, T, verdict(id, T, 'x', 'it returned a Deferred that waits for itself'), owner)
end

-- Go on with the searches that were too long for one step, the oldest first.
local function seek()
  local life = budget > 0 and call('LINDEX', P .. 'loops', 0)
  while life and budget > 0 do
    local id = life:sub(NONCE + 1)
    local T = task(id)
    local U = T and T.n .. id == life and T.s == PENDING and T.x and read(T.x)
    local circle, left = false, budget - 1
    if U then
      circle, left = search(life, U.n .. T.x, budget, true)
    end
    budget = math.floor(left)
    if circle == nil then
      return
    end
    call('LPOP', P .. 'loops')
    drop(P .. 'loop0', P .. 'loop1', P .. 'seen0', P .. 'seen1')
    if circle then
      close_circle(id, T, T.o)
    end
    life = call('LINDEX', P .. 'loops', 0)
  end
end

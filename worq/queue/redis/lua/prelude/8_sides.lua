-- Taking where pools know different names, or some are paused: one after the other, from the lines of the names that this
-- pool knows, and then from the lane, where what it does not know is put aside.

local side_lines = {}   -- by side: the lines that it may take from, as name, number, ...
local function lines_for(mine, side)
  if not side_lines[side] then
    local lines
    if mine then
      lines = call('ZINTER', '2', P .. 'lines:' .. side, mine, 'WEIGHTS', '1', '0', 'WITHSCORES')
    else   -- what no other knows, and whose grace does not run
      lines = call('ZRANGE', P .. 'lines:' .. side, '0', PUT_LIMIT - 1, 'WITHSCORES')
    end
    for i = 1, #lines, 2 do
      local name = lines[i]
      if is_paused(name) or not mine and (knowers(name) or call('ZSCORE', P .. 'unknown', name)) then
        lines[i + 1] = false
      end
    end
    side_lines[side] = lines
  end
  return side_lines[side]
end

-- Of lines that a pool may take from the one whose first stands there for longest: where it is.
local function oldest_line(lines)
  local best
  for i = 1, #lines, 2 do
    if lines[i + 1] and (not best or tonumber(lines[i + 1]) < tonumber(lines[best + 1])) then
      best = i
    end
  end
  return best
end

-- The next one of a lane for this pool: where it was found, its id, nonce and record; and what is left
-- of `skips`, for what is over and what is put aside costs some.
local function next_of_side(pool, mine, side, skips)
  local lines, lane = lines_for(mine, side), P .. 'q:' .. side
  while skips > 0 do
    local i = oldest_line(lines)
    local name = i and lines[i]
    local entry = name and first_aside(side, name)
    if i and not entry then
      call('ZREM', P .. 'lines:' .. side, name)
      lines[i + 1] = false
    elseif i then
      local serial, nonce, id = aside_parts(entry, name)
      local T = task(id)
      if T and T.s == ENQUEUED and T.n == nonce and T.L == serial then
        return skips, {side = side, i = i, entry = entry}, id, nonce, T
      end
      local next, there = step_out(side, name, entry)
      lines[i + 1] = next or false
      if there then   -- else it has ended just now
        count('dead', -1)
      end
      skips = skips - 1
    else
      entry = call('LINDEX', lane, 0)
      if not entry then
        return skips
      end
      local nonce, id = entry:sub(1, NONCE), entry:sub(NONCE + 1)
      local T = task(id)
      if T and T.s == ENQUEUED and T.n == nonce then
        name = name_of(id, T)
        if not is_paused(name) and (T.L == '-' or mine and call('SISMEMBER', mine, name) == 1
            or not knowers(name) and (not mine or unknown_grace() == 0)) then
          return skips, {side = side, lane = lane}, id, nonce, T
        end
        put_aside(id, T, name)
        skips = skips - 1   -- it takes twice as long
      else
        count('dead', -1)
      end
      call('LPOP', lane)
      skips = skips - 1
    end
  end
  return skips
end

-- Hands one task of this priority to the pool; answers whether there may be more, and the skips left.
local function by_name(pool, p, hand, skips)
  local mine = names_of(pool)
  local left, deep, id, nonce, T = next_of_side(pool, mine, 'c' .. p, skips)
  local rest, fresh, id2, nonce2, T2 = next_of_side(pool, mine, text(p), left)
  if not deep and not fresh then
    return rest <= 0, rest
  end
  if deep and fresh then
    local times, whose = (call('HGET', KEYS[1], 'passed' .. p) or ''):match('^(%d%d?) (.*)$')
    local passed = whose == nonce2 and tonumber(times) or 0
    if passed >= OVERTAKEN then
      deep = nil
    else
      call('HSET', KEYS[1], 'passed' .. p, ('%d %s'):format(passed + 1, nonce2))
    end
  end
  local from = deep or fresh
  if not deep then
    id, nonce, T = id2, nonce2, T2
  end
  if from.lane then
    call('LPOP', from.lane)
  else
    local lines = side_lines[from.side]
    lines[from.i + 1] = step_out(from.side, lines[from.i], from.entry) or false
    call('HDEL', P .. 't:' .. id, 'L')
  end
  if not hand(id, nonce, T) then
    count('dead', -1)
    rest = rest - 1
  end
  return true, rest
end

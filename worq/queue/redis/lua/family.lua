-- family(P; id, up: int, down: int, limit: int) -> {{id, nonce, name, state, level, width, arguments, target, fan,
-- dependents, gate, progress, since, pool}, ...}, as `Node`. (no change) Breadth first.
local room = FAMILY_EDGES

local function nonce_of(name)
  local nonce = attempt('HGET', P .. 't:' .. name, 'n')
  return type(nonce) == 'string' and nonce   -- else it is gone, or none of ours
end

-- Reads what `relative` has written behind a count: lives, as id, nonce, ...; and the count. One whose
-- id has another life by now is left out.
local function relatives(raw)
  local n, found = tonumber(raw:match('^(%d%d?%d?%d?%d?%d?%d?%d?%d?);')) or 0, {}
  local at = (raw:find(';', 1, true) or #raw) + 1
  while at <= #raw do
    local size, start = raw:match('^(%d%d?%d?):()', at)
    local name, nonce = raw:sub(at + 1, at + NONCE), raw:sub(at + 1, at + NONCE)
    if size then
      nonce, name = raw:sub(start, start + NONCE - 1), raw:sub(start + NONCE, start + NONCE + size - 1)
    elseif raw:sub(at, at) ~= '=' then
      break
    end
    at = size and start + NONCE + size or at + NONCE + 1
    local now_here = nonce_of(name)
    if not now_here or now_here == nonce then
      found[#found + 1], found[#found + 2] = name, nonce
    end
  end
  return found, n
end

local function arguments(name, T)
  if T.s == COMPLETED then
    return relatives(T.Y or '')
  end
  local found, most = {}, math.min(room, NODES)
  for _, argument in ipairs(T.a and most > 0 and call('LRANGE', P .. 'a:' .. name, '0', most - 1) or {}) do
    found[#found + 1], found[#found + 2] = argument, ''
  end
  return found, tonumber(T.a or 0) or 0
end

local function dependents(name, T)
  local key, most = P .. 'd:' .. name, math.min(room, NODES)
  local n, found = call('LLEN', key), {}
  if n == 0 then
    return relatives(T.W or '')
  end
  for _, edge in ipairs(most > 0 and call('LRANGE', key, '0', most - 1) or {}) do
    local nonce, other = edge:sub(1, NONCE), edge:sub(NONCE + 1)
    local s, there, g = unpack(attempt('HMGET', P .. 't:' .. other, 's', 'n', 'g'))
    if s == PENDING and there == nonce and not purged({s = s, g = g or nil}) then
      found[#found + 1], found[#found + 2] = other, nonce
    end
  end
  return found, n
end

local line, seen, nodes = {{id, '', 0}}, {[id] = true}, {}

local function enter(found, level)
  for i = 1, #found, 2 do
    if not seen[found[i]] then
      seen[found[i]] = true
      line[#line + 1] = {found[i], found[i + 1], level}
    end
  end
end

local function names(found)
  local ids = {}
  for i = 1, #found, 2 do
    ids[#ids + 1] = found[i]
  end
  return ids
end

local i = 1
while line[i] and #nodes < limit do
  local name, nonce, level = unpack(line[i])
  i = i + 1
  local T = task(name)
  if T and T.n and (nonce == '' or T.n == nonce) then
    local over, here = T.s == COMPLETED, T.s == PROCESSING
    local above, width = arguments(name, T)
    room = math.max(room - #above / 2, 0)
    local below, fan = dependents(name, T)
    room = math.max(room - #below / 2, 0)
    local target = over and relatives('1;' .. (T.X or '')) or {T.x, T.x and ''}
    local since = over and T.E or T.s == ENQUEUED and (T.R or T.C) or T.q or T.C or ''
    nodes[#nodes + 1] = {name, T.n, header(name, T):match('^[^\n]*'), over and ending(name, T) or T.s, level, width,
                         names(above), target[1] or '', fan, names(below), not over and T.G or '', here and T.j or '',
                         since, (over or here) and T.o or ''}
    if level <= 0 and -level < up then
      enter(above, level - 1)
      enter(target, level - 1)
    end
    if level >= 0 and level < down then
      enter(below, level + 1)
    end
  end
end
defer()
return nodes

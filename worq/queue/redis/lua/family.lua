-- family(P; room: int, {id, nonce}, ...) -> {{nonce, name, state, width, arguments, target, fan, dependents, gate,
-- progress, since, pool} or nil, ...}, as `Node`. (no change) Of these lives as many as a step may look at; '' is any.
-- Its relatives are lives, as id, nonce, ...; of all together it tells about `room`.
local looked = 0

local function nonce_of(name)
  looked = looked + 1
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
    looked = looked + 1
    local nonce, other = edge:sub(1, NONCE), edge:sub(NONCE + 1)
    local s, there, g = unpack(attempt('HMGET', P .. 't:' .. other, 's', 'n', 'g'))
    if s == PENDING and there == nonce and not purged({s = s, g = g or nil}) then
      found[#found + 1], found[#found + 2] = other, nonce
    end
  end
  return found, n
end

local answers = {}
for i = rest, #ARGV, 2 do
  local name, T = ARGV[i], task(ARGV[i])
  local node = false
  if T and T.n and (ARGV[i + 1] == '' or T.n == ARGV[i + 1]) then
    local over, here = T.s == COMPLETED, T.s == PROCESSING
    local above, width = arguments(name, T)
    room = math.max(room - #above / 2, 0)
    local below, fan = dependents(name, T)
    room = math.max(room - #below / 2, 0)
    local target = over and relatives('1;' .. (T.X or '')) or {T.x, T.x and ''}
    local since = over and T.E or T.s == ENQUEUED and (T.R or T.C) or T.q or T.C or ''
    node = {T.n, header(name, T):match('^[^\n]*'), over and ending(name, T) or T.s, width, above, target, fan, below,
            not over and T.G or '', here and T.j or '', since, (over or here) and T.o or ''}
  end
  answers[#answers + 1] = node
  looked = looked + 5   -- it takes about as long as five relatives
  if looked > 2 * SCANNED then
    break
  end
end
defer()
return answers

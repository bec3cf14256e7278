-- scan(P; state, newest, cursor, count: int, {name}, ...) -> {cursor, {id, nonce, name, since, due, pool, attempt}, ...}
-- (no change) A page of the tasks in a state, a letter: in upper case of those that have ended. The cursor
-- is '' at the end, else where the last one stands that was looked at: its part of the index, a
-- number there (score, or place in a list as seen from its end), and the entry.
local rows, looked, dead = {}, 0, {}
local exact, begun = {}, {}
for i = rest, #ARGV do
  exact[ARGV[i]] = true
  begun[#begun + 1] = ARGV[i]:match('^(.*%.)%*$')
end

local function wanted(name)
  if rest > #ARGV or exact[name] then
    return true
  end
  for _, start in ipairs(begun) do
    if name:sub(1, #start) == start then
      return true
    end
  end
  return false
end

local NAMES = {'s', 'n', 'h', 'c', 'f', 'z', 'x', 'g', 'C', 'R', 'q', 'E', 'A', 'o', 'v', 'r', 'L'}
local function record(id)
  local found, T = attempt('HMGET', P .. 't:' .. id, unpack(NAMES)), {}
  for i = 1, #found do   -- none where others have written something else
    T[NAMES[i]] = found[i] or nil
  end
  return T
end

-- Tells a task if it is in this state, is this life, and stands there where it was put aside. Of other names
-- than those that are wanted nothing else is read.
local function look(id, nonce, at, serial)
  if rest <= #ARGV then
    local h, c = unpack(attempt('HMGET', P .. 't:' .. id, 'h', 'c'))
    if (h or c) and not wanted(header(id, {h = h or nil, c = c or nil}):match('^[^\n]*')) then
      return true
    end
  end
  local T = record(id)
  local s, live = T.s, state:lower() == state
  local other = T.L ~= '-' and T.L or nil
  if nonce and T.n ~= nonce or s ~= (live and state or COMPLETED) or serial ~= other or not T.n
      or is_gate(T) or purged(T) or not live and ending(id, T) ~= state then
    return false
  elseif live and s ~= PROCESSING and T.z and not T.x and (tonumber(T.z) or 0) <= now then
    return true
  end
  local name = header(id, T):match('^[^\n]*')
  if wanted(name) then
    local here = not live or s == PROCESSING
    local later = s == PENDING and not T.x and (tonumber(T.v) or 0) > now and T.v
    rows[#rows + 1] = {id, T.n, name, not live and T.E or s == ENQUEUED and (T.R or T.C) or T.q or T.C or '',
                       s == SCHEDULED and at or later or '', here and T.o or '', T.A or ''}
  end
  return true
end

local function full()
  return #rows >= count or looked >= SCANNED
end

local window = rest > #ARGV and math.min(count, CHUNK) or BUDGET

-- Whether a text is before another in a zset: by its bytes, as Lua does not compare in each locale.
local function before(one, other)
  for i = 1, math.min(#one, #other) do
    if one:byte(i) ~= other:byte(i) then
      return one:byte(i) < other:byte(i)
    end
  end
  return #one < #other
end

-- Walks a zset from behind `entry`, whether that is there yet or not.
local function walk_scores(key, score, entry)
  local size = call('ZCARD', key)
  local rank = newest == '1' and size - 1 or 0
  if entry then
    local low, high = 0, size
    while low < high do
      local middle = math.floor((low + high) / 2)
      local one = call('ZRANGE', key, middle, middle, 'WITHSCORES')
      local at = tonumber(one[2])
      if at < score or at == score and (before(one[1], entry) or newest ~= '1' and one[1] == entry) then
        low = middle + 1
      else
        high = middle
      end
    end
    rank = newest == '1' and low - 1 or low
  end
  local last
  while rank >= 0 and rank < size do
    local from = newest == '1' and math.max(rank - window + 1, 0) or rank
    local to = newest == '1' and rank or rank + window - 1
    local flat = call('ZRANGE', key, from, to, 'WITHSCORES')
    for k = 1, #flat, 2 do
      local i = newest == '1' and #flat - k or k
      if full() then
        return last
      end
      local member, at = flat[i], flat[i + 1]
      looked, last = looked + 1, '0 ' .. at .. ' ' .. member
      if state:lower() == state then
        look(member, nil, at)
      elseif not look(member:sub(NONCE + 1), member:sub(1, NONCE)) then
        dead[#dead + 1] = member
      end
    end
    rank = newest == '1' and from - 1 or to + 1
  end
  return ''
end

-- Where an entry stands in a list, from the end. Others are pushed behind it, and it is only popped after
-- all that is before it; so it is never nearer than it was. Answers nil if it is gone, or, if it is too
-- far for one step, from where on to look for it.
local function place(key, from, entry)
  for _ = 1, 4 do
    local found = call('LRANGE', key, text(-from - SCANNED + 1), text(-from))
    for i = #found, 1, -1 do
      if found[i] == entry then
        return from + #found - i
      end
    end
    if #found < SCANNED then
      return nil
    end
    from = from + SCANNED
  end
  return nil, from
end

local function walk_list(part, key, at, entry)
  local size, last, more = call('LLEN', key), nil, nil
  local d = newest == '1' and 1 or size
  if entry then
    at, more = place(key, at, entry)
    if more then
      return part .. ' ' .. text(more) .. ' ' .. entry
    elseif at then
      d = newest == '1' and at + 1 or at - 1
    elseif newest == '1' then
      return ''
    end
  end
  while d >= 1 and d <= size do
    local far = newest == '1' and math.min(d + window - 1, size) or d
    local near = newest == '1' and d or math.max(d - window + 1, 1)
    local found = call('LRANGE', key, text(-far), text(-near))
    for k = 1, #found do
      local i = newest == '1' and #found - k + 1 or k
      if full() then
        return last or part .. ' 0 '
      end
      looked, last = looked + 1, part .. ' ' .. text(far - i + 1) .. ' ' .. found[i]
      look(found[i]:sub(NONCE + 1), found[i]:sub(1, NONCE))
    end
    d = newest == '1' and far + 1 or near - 1
  end
  return ''
end

local function walk_lines(part, key, entry)
  local last
  while true do
    local from = entry and '(' .. entry or newest == '1' and '+' or '-'
    local found = newest == '1' and call('ZRANGE', key, from, '-', 'BYLEX', 'REV', 'LIMIT', '0', window)
      or call('ZRANGE', key, from, '+', 'BYLEX', 'LIMIT', '0', window)
    for _, member in ipairs(found) do
      if full() then
        return last or part .. ' 0 '
      end
      entry, looked, last = member, looked + 1, part .. ' 0 ' .. member
      local line = member:match('^[^\n]*\n(.*)$') or ''
      look(line:sub(SERIAL + NONCE + 1), line:sub(SERIAL + 1, SERIAL + NONCE), nil, line:sub(1, SERIAL))
    end
    if #found < window then
      return ''
    end
  end
end

-- What pools have told of lately: it may be gone by now, or have another life. An entry that is not there
-- any more was among the oldest.
local function walk_recent(entry)
  local key, last = P .. 'recent', nil
  local i = entry and call('LPOS', key, entry)
  if entry and not i and newest == '1' then
    return ''
  end
  local step, size = newest == '1' and 1 or -1, call('LLEN', key)
  for j = i and i + step or newest == '1' and 0 or size - 1, newest == '1' and size - 1 or 0, step do
    if full() then
      return last
    end
    local one = call('LINDEX', key, text(j))
    looked, last = looked + 1, '0 0 ' .. one
    local nonce, n, rest = one:match('^%d+ (' .. ('.'):rep(NONCE) .. ') (%d+) %d+ (.*)$')
    if nonce then
      look(rest:sub(1, tonumber(n)), nonce)
    end
  end
  return ''
end

local part, at, entry = cursor:match('^(%d%d?) (%S+) (.*)$')
part, at, entry = tonumber(part), tonumber(at), entry ~= '' and entry or nil
local answer = ''
if state == ENQUEUED then
  local keys = {'q:c0', 'q:0', 'q:c1', 'q:1', 'q:c2', 'q:2', 'aside:c0', 'aside:0', 'aside:c1', 'aside:1', 'aside:c2',
                'aside:2'}
  local step = newest == '1' and -1 or 1
  if not part or part < 1 or part > #keys or not at or not (at >= 0 and at <= SPAN) then
    part, at, entry = newest == '1' and #keys or 1, nil, nil
  end
  while keys[part] and answer == '' do
    if part <= #keys / 2 then
      answer = walk_list(part, P .. keys[part], math.max(at or 1, 1), entry)
    else
      answer = walk_lines(part, P .. keys[part], entry)
    end
    part, at, entry = part + step, nil, nil
  end
elseif state == 'V' then
  answer = walk_recent(entry)
else
  local key = P .. (INDEX[state] or 'over:' .. state:lower())
  answer = walk_scores(key, at or 0, at and at == at and entry)
  if dead[1] then
    push('ZREM', key, dead)
  end
end
return {answer, unpack(rows)}

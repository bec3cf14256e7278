-- inspect(P; start: int, {id}, ...) -> {{state, nonce, header, due, expires, open, arguments, target, ahead, pool, taken,
-- deliveries, progress, memo, gate, lost, ignored, moments, aside, grace, deaths} or nil, ...}. (no change)
-- Moments are ms from now. The state of a completed task is that of its end. Of as many as a step may look at.
local looked = 0

local function span(moment)
  return moment and math.max(moment - now, 0) or false
end

local function due(id, T)
  if T.s == SCHEDULED then
    return call('ZSCORE', P .. 'sched', id)
  end
  return T.s == PENDING and (tonumber(T.v) or 0) > now and T.v
end

local function open_ones(id, from, to, most)
  local found = {}
  for _, argument in ipairs(call('LRANGE', P .. 'a:' .. id, from, to)) do
    looked = looked + 1
    if call('HGET', P .. 't:' .. argument, 's') ~= COMPLETED then
      table.insert(found, argument)
      if #found == most then
        break
      end
    end
  end
  return found
end

local function ahead(id, T)
  local here = lane_of(T)
  if T.L and T.L ~= '-' then   -- of its line
    local name = name_of(id, T)
    return call('ZLEXCOUNT', P .. 'aside:' .. side_of(T), '[' .. name .. '\n', '(' .. aside_member(id, T, name))
  end
  looked = looked + AHEAD / 1000
  local n = call('LPOS', P .. here, T.n .. id, 'MAXLEN', AHEAD)
  for p = 0, n and 2 or -1 do
    for _, lane in ipairs({'q:c' .. p, 'q:' .. p}) do
      if lane == here then
        return n
      end
      n = n + call('LLEN', P .. lane)
    end
  end
  return n
end

-- For how many ms it has stood aside, and for how many more if no live pool knows its name.
local function aside(id, T)
  local since = T.s == ENQUEUED and T.L and T.L ~= '-' and math.floor((tonumber(T.L) or 0) / 1000)
  if not since then
    return false, false
  end
  local name = name_of(id, T)
  local ends = not is_paused(name) and tonumber(call('ZSCORE', P .. 'unknown', name) or nil)
  return math.max(now - since, 0), ends and math.max(ends, since + unknown_grace(), now) - now or false
end

local function moments(T)
  return {T.C or '', T.R or '', T.q or '', T.E or '', T.A or '', T.B or ''}
end

local function look(id, T)
  if T.s == COMPLETED then
    return {ending(id, T), T.n, T.h or '', false, false, 0, {}, '', false, T.o or '', false, 0, '', '',
            '', '', 0, moments(T), false, false, T.D or ''}
  end
  local lost = astray(id, T, BUDGET)
  if lost then
    return {T.s or '?', T.n or '', header(id, T), false, false, 0, {}, '', false, '', false, 0, '', '',
            '', lost, ignored(T) and 1 or 0, moments(T), false, false, T.D or ''}
  end
  local here, open = T.s == PROCESSING, T.s == PENDING and not T.x
  local names = {}
  if open and start >= 0 then
    names = open_ones(id, start, start + PUT_LIMIT - 1)
  elseif open then
    names = open_ones(id, 0, PUT_LIMIT - 1, LOOK)
    if #names == 0 then
      names = open_ones(id, -PUT_LIMIT, -1, LOOK)
    end
  end
  local for_ms, more = aside(id, T)
  return {T.s, T.n, header(id, T), span(due(id, T)), span(T.z), open and (tonumber(T.u) or 1) - (T.G and 1 or 0) or 0,
          names, T.x or '', T.s == ENQUEUED and ahead(id, T), here and T.o or '',
          here and now - (tonumber(T.q) or now), deliveries(T) or 0, here and T.j or '', T.y or '', T.G or '',
          '', ignored(T) and 1 or 0, moments(T), for_ms, more, T.D or ''}
end

local answers = {}
for i = rest, #ARGV do
  local T = task(ARGV[i])
  answers[i - rest + 1] = T and look(ARGV[i], T) or false
  -- whether what it waits for knows of it is two commands for each argument, or so
  looked = looked + 5 + (T and T.s == PENDING and 2 * math.min(tonumber(T.a or 0) or 0, BUDGET) or 0)
  if looked > 2 * SCANNED then
    break
  end
end
defer()
return answers

-- put(P; gate, client, {id, nonce, header, body, options}, ...) -> nil or {id, word, argument}
-- (new) -> enqueued | scheduled | pending | completed, or nothing at all. A gate: processing.
-- Options are empty, or 'n' for the flag NEEDED and nothing else, or `delay expires k n`; then come
-- k fields of the task, as name and value, and n arguments, as id and nonce. Judged first and
-- written then: the judging writes nothing.
local stored, pinned, messages, again, behind = {}, {}, {}, {}, {}
local waiting, scheduled, moment = {}, {}, text(now)

local function parse(i)
  local M = {id = ARGV[i], n = ARGV[i + 1], head = ARGV[i + 2], body = ARGV[i + 3], u = 0,
             w = client ~= '' and client or nil, arguments = {}, from = i + 5, to = i + 4, delay = 0}
  local delay, expires, k, n = ARGV[i + 4]:match('(%d+) (%d+) (%d+) (%d+)')
  if not delay then
    M.f = ARGV[i + 4] ~= '' and ALONE or nil
    return M, i + 5
  end
  M.delay, M.z, M.to = tonumber(delay), expires ~= '0' and now + expires or nil, i + 4 + k * 2
  for j = M.from, M.to, 2 do
    M[ARGV[j]] = ARGV[j + 1]
  end
  i = M.to + 1 + n * 2
  M.arguments = read_arguments(M.to + 1, i - 1)
  return M, i
end

local function admit(M)
  local old = stored[M.id]
  if old then
    return old.n ~= M.n and {M.id, 'duplicate', ''} or nil
  end
  old = task(M.id)
  if old and old.n == M.n then
    known[M.id], stored[M.id] = old, old
    if M.w and old.s ~= COMPLETED then
      again[M.id] = old
    end
    return
  elseif old and old.s ~= COMPLETED then
    return {M.id, 'duplicate', ''}
  elseif old and (old.i or pinned[M.id] or call('EXISTS', P .. 'd:' .. M.id) == 1) then
    return {M.id, 'pinned', ''}
  end
  local refusal = judge(M)
  M.old = old
  known[M.id], stored[M.id] = M, M
  table.insert(messages, M)
  if M.failed then
    M.s, M.r = COMPLETED, failure(M)
    return refusal
  end
  M.u = M.u + (gate ~= '' and 1 or 0)
  M.s = is_gate(M) and PROCESSING or M.u > 0 and PENDING or M.delay > 0 and SCHEDULED or ENQUEUED
  for _, argument in ipairs(M.arguments) do
    pinned[argument[1]] = true
  end
  return refusal
end

local function set(fields, name, value)
  local n = #fields
  fields[n + 1], fields[n + 2] = name, value
end

-- What has a failed argument: it never waits for any, but may do so if it is run again.
local function finish_at_once(id, M, long)
  local apart = long or #M.body > FIELD
  if apart then
    call('SET', P .. 'b:' .. id, long and M.head .. M.body or M.body)
  end
  local T = {s = 'new', n = M.n, f = M.f, t = M.t, w = M.w, b = not apart and M.body or nil,
             h = not long and M.head or nil, c = long and #M.head or nil, g = purges, p = M.p, l = M.l, m = M.m,
             z = M.z, C = moment, G = gate ~= '' and gate or nil, a = #M.arguments}
  finish(id, T, M.r)
  if not ignored(T) then
    local kept = {}
    for i = 1, math.min(#M.arguments, KIN) do
      local name = M.arguments[i][1]
      kept[i] = relative(name, known[name].n)
    end
    call('HSET', P .. 't:' .. id, 'Y', #M.arguments .. ';' .. table.concat(kept))
  end
  local noted, seals = {}, {}
  for _, argument in ipairs(T.K and M.arguments or {}) do
    local name = argument[1]
    local A = known[name]
    noted[#noted + 1] = A.n .. name
    if needed_only(A.f) then
      A.f = keep(name, A.f)
    end
    if argument[3] then
      seals[#seals + 1], seals[#seals + 2] = name, argument[3]
    end
  end
  if noted[1] then
    let_off(T.K, noted)
    push('HSET', P .. 'fs:' .. T.K, seals)
    expire(call('HGET', P .. 'fh:' .. T.K, 'e'), P .. 'fs:' .. T.K)
  end
end

local function store(M)
  local id, key, long = M.id, P .. 't:' .. M.id, #M.head > FIELD
  if M.old then
    drop(key, P .. 'r:' .. id)
  end
  if M.s == COMPLETED then
    call('HSET', key, 's', M.s, 'n', M.n, 'f', M.f or 0, 't', M.t or RESULT_TTL,
         'h', M.head:match('^[^\n]*'), 'C', moment)
    return finish_at_once(id, M, long)
  end
  local fields = {'s', M.s, 'n', M.n, 'C', moment, unpack(ARGV, M.from, M.to)}
  set(fields, long and 'c' or 'h', long and #M.head or M.head)
  if long or #M.body > FIELD then
    call('SET', P .. 'b:' .. id, long and M.head .. M.body or M.body)
  else
    set(fields, 'b', M.body)
  end
  if M.to < M.from and M.f then
    set(fields, 'f', M.f)
  end
  if purges > 0 then
    set(fields, 'g', text(purges))
  end
  if M.w then
    set(fields, 'w', M.w)
  end
  if M.z then
    set(fields, 'z', M.z)
    call('ZADD', P .. 'exp', M.z, id)
    due_at(M.z)
  end
  if M.arguments[1] then
    M.a = #M.arguments
    set(fields, 'a', text(M.a))
    bind(M)
  end
  if M.s == ENQUEUED then
    line_up(id, M, back)
  elseif M.s == SCHEDULED then
    due_at(now + M.delay)
    table.insert(scheduled, now + M.delay)
    table.insert(scheduled, id)
  elseif M.s == PROCESSING then   -- a gate: taken from the start, by itself, and only once
    call('ZADD', P .. 'lease', now + (M.l or LEASE), id)
    fields = {'e', 1, 'o', id, 'q', now, unpack(fields)}
  else
    set(fields, 'u', text(M.u))
    if M.delay > 0 then
      set(fields, 'v', now + M.delay)
    end
    if gate ~= '' then
      set(fields, 'G', gate)
      table.insert(behind, M.n .. id)
    end
    table.insert(waiting, moment)
    table.insert(waiting, id)
  end
  call('HSET', key, unpack(fields))
end

local i, refusal = rest, nil
if gate ~= '' and not held_gate(gate) then
  refusal = {ARGV[i], 'unknown', gate}
end
while i <= #ARGV and not refusal do
  local M
  M, i = parse(i)
  refusal = admit(M)
end
if not refusal then
  if messages[1] and (messages[1].old or meta[6] ~= STAMP and not newer) then
    -- A full Redis refuses the first write only if it needs memory, and `drop` does not.
    call('HSET', KEYS[1], 'version', newer and meta[6] or STAMP)
  end
  for _, M in ipairs(messages) do
    store(M)
  end
  if next(again) and not messages[1] then
    insist()   -- what is stored already can be put again where nothing more can be
  end
  for id, T in pairs(again) do
    add_watcher(id, T, client)
  end
  flush_edges()
  push('ZADD', P .. 'wait', waiting)
  push('ZADD', P .. 'sched', scheduled)
  if behind[1] then
    push('RPUSH', P .. 'd:' .. gate, behind)
    call('HSET', P .. 't:' .. gate, 'k', 1)
  end
end
defer()
return refusal   -- or nil: a table without elements is a piece of its own in the answer

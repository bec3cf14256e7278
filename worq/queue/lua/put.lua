-- put(P; {id, nonce, header, body, options}, ...) -> {} or {id, word, argument}
-- (new) -> enqueued | scheduled | pending | completed, or nothing at all
-- Options are empty, or `flags priority delay ttl lease max expires n` and then n arguments follow
-- as (id, nonce). Judged first and written then: the judging writes nothing.
local known, pinned, stored = {}, {}, {}

local function judge(M)
  local failed
  for _, argument in ipairs(M.arguments) do
    local id, nonce = argument[1], argument[2]
    known[id] = known[id] or task(id)
    local A = known[id]
    if not A or (nonce ~= '' and A.n ~= nonce) or ignored(A) then
      return {M.id, 'unknown', id}
    elseif A.s ~= COMPLETED then
      M.u = M.u + 1
    else
      local letter = kind(id, A)
      if letter == '' then
        return {M.id, 'unknown', id}
      elseif letter:lower() ~= 'v' and M.f < PASS then
        failed = failed or argument
      end
    end
  end
  if failed then
    M.s, M.r = COMPLETED, inherit(M.n, failed[1], outcome(failed[1], known[failed[1]]))
  else
    M.s = M.u > 0 and PENDING or M.delay > 0 and SCHEDULED or ENQUEUED
    for _, argument in ipairs(M.arguments) do
      pinned[argument[1]] = true
    end
  end
end

local function admit(M)
  local old = stored[M.id]
  if old then
    return old.n ~= M.n and {M.id, 'duplicate', ''} or nil
  end
  old = task(M.id)
  if old and old.n == M.n then
    known[M.id], stored[M.id] = old, old
    return
  elseif old and old.s ~= COMPLETED then
    return {M.id, 'duplicate', ''}
  elseif old and (old.i or pinned[M.id] or call('EXISTS', P .. 'd:' .. M.id) == 1) then
    return {M.id, 'pinned', ''}
  end
  local refusal = judge(M)
  M.old, M.fresh = old, true
  known[M.id], stored[M.id] = M, M
  return refusal
end

local messages, i = {}, 1
while i <= #ARGV do
  local M = {id = ARGV[i], n = ARGV[i + 1], h = ARGV[i + 2], body = ARGV[i + 3],
             arguments = {}, u = 0, f = 0, delay = 0}
  local options = ARGV[i + 4]
  i = i + 5
  if options ~= '' then
    local f, p, delay, t, l, m, expires, n = options:match(
      '(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)')
    M.f, M.delay, M.t, M.l, M.m = tonumber(f), tonumber(delay), t, l, m
    M.p, M.z = p, expires ~= '0' and now + expires
    for _ = 1, tonumber(n) do
      table.insert(M.arguments, {ARGV[i], ARGV[i + 1]})
      i = i + 2
    end
  end
  local refusal = admit(M)
  if refusal then
    defer()
    return refusal
  elseif M.fresh and stored[M.id] == M then
    table.insert(messages, M)
  end
end

local waiting, scheduled = {}, {}
local function store(M)
  local id, key = M.id, P .. 't:' .. M.id
  if M.old then
    drop(key, P .. 'r:' .. id)
  end
  local fields = {key, 's', M.s, 'n', M.n}
  local function set(name, value, default)
    if value and tostring(value) ~= default then
      table.insert(fields, name)
      table.insert(fields, value)
    end
  end
  set('f', M.f, '0')
  set('t', M.t, tostring(RESULT_TTL))
  if M.s == COMPLETED then
    call('HSET', unpack(fields))
    return finish(id, {s = 'new', n = M.n, f = M.f, t = M.t, b = ''}, M.r)
  end
  set('p', M.p, '1')
  set('l', M.l, '0')
  set('m', M.m, tostring(MAX_DELIVERIES))
  set('g', purges, '0')
  set('z', M.z)
  expect(id, M)
  if #M.arguments > 0 then
    set('a', #M.arguments)
    set('u', M.u, '0')
  end
  if M.s == PENDING and M.delay > 0 then
    set('v', now + M.delay)
  end
  local long = #M.h > FIELD
  set(long and 'c' or 'h', long and #M.h or M.h)
  if long or #M.body > FIELD then
    call('SET', P .. 'b:' .. id, long and M.h .. M.body or M.body)
  else
    set('b', M.body)
  end
  call('HSET', unpack(fields))
  local edges = {}
  for _, argument in ipairs(M.arguments) do
    local name, A = argument[1], known[argument[1]]
    table.insert(edges, name)
    call('HINCRBY', P .. 't:' .. name, 'i', 1)
    if A.s ~= COMPLETED then
      call('RPUSH', P .. 'd:' .. name, M.n .. id)
    else
      persist(P .. 't:' .. name)
      persist(P .. 'r:' .. name)
    end
  end
  push('RPUSH', P .. 'a:' .. id, edges)
  if M.s == ENQUEUED then
    line_up(id, M, back)
  else
    local index = M.s == PENDING and waiting or scheduled
    table.insert(index, now + (M.s == SCHEDULED and M.delay or 0))
    table.insert(index, id)
  end
end

if messages[1] and messages[1].old then
  -- A full Redis refuses the first write only if it needs memory, and `drop` does not.
  call('HSET', KEYS[1], 'version', SCHEMA)
end
for _, M in ipairs(messages) do
  store(M)
end
push('ZADD', P .. 'wait', waiting)
push('ZADD', P .. 'sched', scheduled)
defer()
return {}

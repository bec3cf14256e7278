-- What a task that failed was put with, kept so that a person may have it run again. Such failures have
-- numbers, and a task keeps that of its own, K. `failed` lists their bytes, the oldest first; of each there is
--   fh:N  fields of the task, see `read`, and: e  when all of this ends   z  for how long it may wait
--         X  the nonce of what its tail call waited for   i  its id   O  which failure it came from
--   fb:N  its message, if that is long   fa:N  arguments that it has let go of   fs:N  what signs them
--   fd:N  the numbers of those that failed because of it
local most, room, origins = nil, nil, {}

local function positive(number)
  number = tonumber(number)
  return number and number >= 0 and number <= SPAN * TICK and number % 1 == 0 and number or 0
end

local function drop_failure(number)
  number = text(number)
  drop(P .. 'fh:' .. number, P .. 'fb:' .. number, P .. 'fa:' .. number, P .. 'fs:' .. number,
       P .. 'fd:' .. number)
end

-- The number of the failure that an outcome came from, if it came from another task.
local function origin_of(record)
  local hops, at = record:match('^(%d%d?):()', NONCE + 2)
  at = at or NONCE + 2
  local nonce, id, size
  for _ = 1, tonumber(hops or 1) do
    nonce = record:sub(at, at + NONCE - 1)
    size, at = record:match('^(%d%d?%d?):()', at + NONCE)
    if not size then
      return nil
    end
    id, at = record:sub(at, at + size - 1), at + size
    if hops then
      size, at = record:match('^(%d%d?%d?):()', at)
      if not size then
        return nil
      end
      at = at + size
    end
  end
  local life = nonce .. id
  if origins[life] == nil then
    local n, s, K = unpack(call('HMGET', P .. 't:' .. id, 'n', 's', 'K'))
    origins[life] = n == nonce and s == COMPLETED and K and call('EXISTS', P .. 'fh:' .. K) == 1 and tonumber(K)
      or false
  end
  return origins[life] or nil
end

-- Keeps a task that ends so, and numbers it, if there is room. What failed because of another is of use only
-- with that one, so it never takes its place. What a gate holds back has perhaps not got all arguments.
local function preserve(id, T, record)
  if not most then
    local held = attempt('HGET', P .. 'note', KEEP_FAILED)
    most, room = (type(held) == 'string' and held or ''):match('^(%d+) (%d+)$')
    if not most or #most > 9 or #room > 15 then
      most, room = FAILURES, FAILURES_BYTES
    end
    most, room = tonumber(most), tonumber(room)
  end
  local size = (T.h and #T.h or 0) + (T.b and #T.b or call('STRLEN', P .. 'b:' .. id))
  if most == 0 or size > room or T.damaged or T.G or positive(T.a) > PUT_LIMIT
      or not T.b and call('EXISTS', P .. 'b:' .. id) == 0 then
    return
  end
  local n = call('LLEN', P .. 'failed')
  local last, bytes = unpack(call('HMGET', KEYS[1], 'failures', 'fbytes'))
  last, bytes = math.max(positive(last), n), n > 0 and positive(bytes) or 0
  local spared, by = last + 1, nil
  if record:find('^%u', NONCE + 1) then
    spared = origin_of(record)
    by = spared and text(spared)
    if not spared or spared <= last - n then
      return
    end
  end
  local steps = TICK_LIMIT   -- after bounds were narrowed, the next failures go on
  while (n >= most or bytes + size > room) and n > 0 and steps > 0 do
    local number = last - n + 1
    if number >= spared then
      return call('HSET', KEYS[1], 'failures', text(last), 'fbytes', text(bytes)) and nil
    end
    bytes = math.max(bytes - positive(call('LPOP', P .. 'failed')), 0)
    drop_failure(number)
    n, steps = n - 1, steps - 1
  end
  last = last + 1
  call('RPUSH', P .. 'failed', text(size))
  call('HSET', KEYS[1], 'failures', text(last), 'fbytes', text(bytes + size))
  drop_failure(last)   -- of a count that was lost
  T.K = text(last)
  local ends, fields = text(now + (sensible(T.t) or RESULT_TTL)), {}
  local span = T.z and T.C and positive(T.z) - positive(T.C)
  local target = T.x and call('HGET', P .. 't:' .. T.x, 'n')
  for name, value in pairs({n = T.n, i = id, O = by, e = ends, h = T.h, c = T.c, b = T.b, p = T.p, l = T.l, m = T.m, a = T.a,
                            z = span and text(math.max(span, 1)), x = target and T.x, X = target,
                            S = target and T.S}) do
    if value then
      fields[#fields + 1], fields[#fields + 2] = name, value
    end
  end
  call('HSET', P .. 'fh:' .. T.K, unpack(fields))
  expire(ends, P .. 'fh:' .. T.K)
  if by and call('RPUSH', P .. 'fd:' .. by, T.K) == 1 then
    expire(call('HGET', P .. 'fh:' .. by, 'e'), P .. 'fd:' .. by)
  end
  for kind, there in pairs({b = not T.b, s = T.a and call('EXISTS', P .. 's:' .. id) == 1}) do
    if there then
      call('RENAME', P .. kind .. ':' .. id, P .. 'f' .. kind .. ':' .. T.K)
      expire(ends, P .. 'f' .. kind .. ':' .. T.K)
    end
  end
end

-- It has let go of these arguments, each as `nonce id`.
local function let_off(number, arguments)
  local ends = arguments[1] and call('HGET', P .. 'fh:' .. number, 'e')
  if ends then
    push('RPUSH', P .. 'fa:' .. number, arguments)
    expire(ends, P .. 'fa:' .. number)
  end
end

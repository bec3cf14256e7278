-- The turns of a pool that is not busy, as most are: it settles one outcome of a task that nothing
-- depends on, or none, and there is one plain task to take, or none. The functions of the prelude cost
-- more than all of this, at each call; whatever is not so falls through to turn.lua. So nothing is
-- written before that is known.
local pool, limit, n = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local step = now - (tonumber(meta[1]) or 0)
local held = ARGV[5 + 5 * n]
if n > 1 or held and held ~= '' or meta[4] or meta[7] == '1' or not (step < TICK and step >= -TICK) then
  return nil
end

-- Numbers are read where they are not only copied: others may have written them.
local function plain(id)
  local flat = redis.pcall('HGETALL', P .. 't:' .. id)
  local T = {s = nil, n = nil, h = nil, b = nil, e = nil, o = nil, q = nil, w = nil}
  for i = 1, #flat, 2 do
    local name, value = flat[i], flat[i + 1]
    if #name > 1
        or not ('snhbeoqwgpmtlCR'):find(name, 1, true) and not (name == 'f' and value == ALONE)
        or (name == 't' or name == 'l') and not value:find('^%d%d?%d?%d?%d?%d?%d?%d?%d?%d?$') then
      return nil
    end
    T[name] = value
  end
  return T.s and T.n and T.h and T.b and (T.g or false) == meta[3] and T
end

local id, token, word, record, age = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local D = n == 1 and plain(id)
if n == 1 and not (D and D.s == PROCESSING and D.o == pool and D.n .. (D.e or 0) == token
    and word == 'value'
    and not (D.w and call('EXISTS', P .. 'w:' .. id) > 0)) then
  return nil
end
local lane, found, next, T = P .. 'q:1', nil, nil, nil
if limit > 0 then
  if call('EXISTS', P .. 'q:c0', P .. 'q:0', P .. 'q:c1', P .. 'q:c2', P .. 'q:2') > 0 then
    return nil
  end
  found = call('LRANGE', lane, '0', '1')
  if found[1] then
    next = found[1]:sub(NONCE + 1)
    T = (limit == 1 or not found[2]) and plain(next)
    if not (T and T.s == ENQUEUED and T.n .. next == found[1]) or T.e or T.o then
      return nil
    end
  end
end

-- The tokens are stale if nothing is left. To drop them needs no memory, and so does for `insist`.
local last = limit > 0 and not (T and limit == 1)
if last then
  drop(P .. 'wake')
elseif D or T or held then
  insist()
end
if D then
  local counted = redis.pcall('HINCRBY', KEYS[1], record:sub(NONCE + 1, NONCE + 1):lower(), '1')
  if type(counted) == 'table' then
    return nil   -- others have written there
  end
end
if held and (call('ZSCORE', P .. 'pools', pool) or call('EXISTS', P .. 'pool:' .. pool) == 1) then
  call('ZADD', P .. 'pools', text(now), pool)
  expire(text(now + POOL_TTL * 1000), P .. 'pool:' .. pool)
end
if D then
  local key, ends = P .. 't:' .. id, text(now + (D.t or RESULT_TTL))
  call('HDEL', key, 'b', 'w', 'p', 'm', 'l', D.w and 'f' or 'g', 'g')   -- see `keep`
  if #record > FIELD then
    call('HSET', key, 's', COMPLETED, 'E', text(now))
    if age ~= '' then
      call('HSET', key, 'B', age)
    end
    call('SET', P .. 'r:' .. id, record)
    expire(ends, P .. 'r:' .. id)
  elseif age ~= '' then
    call('HSET', key, 's', COMPLETED, 'r', record, 'E', text(now), 'B', age)
  else
    call('HSET', key, 's', COMPLETED, 'r', record, 'E', text(now))
  end
  expire(ends, key)
  call('ZREM', P .. 'lease', id)
  if D.w then
    local inbox = P .. 'in:' .. D.w
    call('RPUSH', inbox, #record > SMALL and 'l' .. #id .. ':' .. id
         or 'r' .. #id .. ':' .. id .. record)
    expire(text(now + INBOX_TTL * 1000), inbox)
  end
end
if limit < 1 then
  return {{}, {}, {}}
elseif not last and found[2] and call('EXISTS', P .. 'wake') == 0 then
  call('RPUSH', P .. 'wake', '')   -- the baton
end
if not T then
  return {{}, {}, {}, pause()}
end
call('LPOP', lane)
call('HSET', P .. 't:' .. next, 's', PROCESSING, 'e', '1', 'o', pool, 'q', text(now))
call('ZADD', P .. 'lease', text(now + (T.l or ARGV[2])), next)
local waited = now - (tonumber(T.R or T.C) or now)
return {{}, {}, {next, T.n .. '1', 1, T.h, T.b, waited > 0 and waited <= SPAN and waited or 0}}

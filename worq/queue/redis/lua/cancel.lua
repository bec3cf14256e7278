-- cancel(P; spare, reason, {id}, ...) -> {word, ...}
-- pending | scheduled | enqueued | processing -> completed
-- With `spare`, a colon and a client, only what nothing live depends on and no other client watches.
-- With a `reason`, withdraw: only what nothing live depends on, and no pool has.
insist()

-- Edges may lead to what is over; of very many some are looked at.
local function needed(id, T)
  if reason ~= '' then
    if T.s == PROCESSING then
      return true
    end
  elseif T.w and (T.w ~= spare:sub(2) or call('EXISTS', P .. 'w:' .. id) == 1) then
    return true
  end
  if not T.k and (T.i or '0') == '0' then
    return false
  end
  local key = P .. 'd:' .. id
  for _, edge in ipairs(call('LRANGE', key, 0, PUT_LIMIT - 1)) do
    local s, n, g = unpack(call('HMGET', P .. 't:' .. edge:sub(NONCE + 1), 's', 'n', 'g'))
    if s == PENDING and n == edge:sub(1, NONCE) and not purged({s = s, g = g or nil}) then
      return true
    end
  end
  if reason ~= '' then   -- it will be asked again, and then finds others
    call('LTRIM', key, PUT_LIMIT, -1)
    return call('EXISTS', key) == 1
  end
  return call('LLEN', key) > PUT_LIMIT
end

local words = {}
for at = rest, #ARGV do
  local id, i = ARGV[at], at - rest + 1
  local T = task(id)
  if not T then
    words[i] = 'unknown'
  elseif T.s == COMPLETED then
    words[i] = 'completed'
  elseif spare .. reason ~= '' and needed(id, T) then
    words[i] = 'needed'
  else
    words[i] = reason == '' and 'cancelled' or 'withdrawn'
    finish(id, T, verdict(id, T, 'c', reason == '' and 'cancelled' or reason))
    work()
  end
end
conclude()
return words

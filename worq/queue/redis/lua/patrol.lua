-- patrol(P; every: int, n: int) -> {ms until the next step is due, key, what, ...}
-- (no change) One step of a walk through all keys, for a queue and not for each pool: what no
-- script fails on, and nobody waits for, is found as well. `m` has where it has come to, and when.
insist()
local looked, cursor = unpack(call('HMGET', KEYS[1], 'looked', 'cursor'))
local due = (tonumber(looked) or 0) + every
if due > now and due <= now + every then
  -- Of a crowd each asks less often, and not all of them at that moment.
  local pools = call('ZCARD', P .. 'pools')
  return {pools > CROWD and math.floor(math.min(pools / CROWD, MOST) * every) or due - now}
end
local owners = {u = 'unpin', x = 'trash'}

local function look(kind, id, key)
  if kind == 't' then
    local T = task(id)
    if T and T.s == COMPLETED then
      return not T.r and call('EXISTS', P .. 'r:' .. id) == 0 and 'its outcome is lost'
    end
    return T and astray(id, T)
  elseif owners[kind] then
    return not listed(owners[kind], kind == 'x' and key or id) and 'nobody knows of it'
  end
  local s = call('HGET', P .. 't:' .. id, 's')
  if kind == 'd' then
    return (not s or s == COMPLETED) and untold(id)
  elseif kind == 'a' or kind == 'b' or kind == 'w' or kind == 'r' then
    return not s and call('PTTL', P .. key) == -1 and 'nobody knows of it'
  end
end

note_work()
if not any_ready() and not any_aside() then
  call('HDEL', KEYS[1], 'dead')   -- the count of entries there that are dead
end
local found = {}
local pattern = P:gsub('[%[%]%*%?%^\\]', '\\%0') .. '*'
local answer = call('SCAN', cursor or '0', 'MATCH', pattern, 'COUNT', n)
call('HSET', KEYS[1], 'looked', now, 'cursor', answer[1])
found[1] = answer[1] == '0' and 6 * every or every
for _, name in ipairs(answer[2]) do
  local key = name:sub(#P + 1)
  local kind, id = key:match('^(%l):(.*)$')
  local what = kind and look(kind, id, key)
  if what then
    found[#found + 1], found[#found + 2] = key, what
  end
end
defer()
return found

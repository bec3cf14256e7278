-- status(P; {id}, ...) -> {letter or nil, ...}: of a state; of a completed task that of its end
-- (no change)
local letters = {}
for i, id in ipairs(ARGV) do
  local s, g, z = unpack(call('HMGET', P .. 't:' .. id, 's', 'g', 'z'))
  if s and (z or purged({s = s, g = g or nil})) then   -- it may be over
    local T = task(id)
    s = T and T.s or false
  end
  letters[i] = s == COMPLETED and ending(id, {}) or s
end
defer()
return letters

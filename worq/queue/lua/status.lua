-- status(P; {id}, ...) -> {letter or nil, ...}
-- (no change)
local letters = {}
for i, id in ipairs(ARGV) do
  local s, g, z, x = unpack(call('HMGET', P .. 't:' .. id, 's', 'g', 'z', 'x'))
  local T = {s = s, g = g or nil, z = z, x = x}
  if s and (purged(T) or too_late(T)) then
    T = task(id)
  end
  letters[i] = T and T.s or false
end
defer()
return letters

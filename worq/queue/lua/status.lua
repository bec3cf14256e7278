-- status(P; {id}, ...) -> {letter or nil, ...}
-- (no change)
local letters = {}
for i, id in ipairs(ARGV) do
  local s, g, f = unpack(call('HMGET', P .. 't:' .. id, 's', 'g', 'f'))
  local over = s and purged({s = s, g = g or nil})
  letters[i] = over and (not ignored({f = f or nil}) and COMPLETED) or not over and s
end
return letters

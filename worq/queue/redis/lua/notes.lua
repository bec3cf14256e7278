-- notes(P; lowest, beyond, limit: int) -> {name, value, ...}
-- (no change) The bounds are as ZRANGEBYLEX has them: Lua compares by the locale of the server.
local names = call('ZRANGEBYLEX', P .. 'noted', lowest, beyond, 'LIMIT', 0, limit)
local found = {}
for _, name in ipairs(names) do
  local held = held_by(name)
  if held ~= '' then
    found[#found + 1], found[#found + 2] = name, held
  end
end
return found

-- note(P; name, value, {if_was}) -> what it holds, or nothing if there are too many
-- (no change)
local held = held_by(name)
if held == value or rest <= #ARGV and held ~= ARGV[rest] then
  return held
elseif fits(held, value) then
  hold(name, value)
  if name == PAUSES then
    pauses_changed()
  end
  return value
end

-- A key that has an end has none before this moment.
local function prolong(at, key)
  local left = call('PTTL', key)
  if left >= 0 and now + left < tonumber(at) then
    expire(at, key)
  end
end

-- ... by the clock that a test moves.
local function prolong(at, key)
  local ends = tonumber(call('ZSCORE', P .. 'ends', key) or nil)
  if ends and ends + skew < tonumber(at) then
    expire(at, key)
  end
end

-- minutes(P; since: int, n: int) -> {the current minute, {minute, {name, cell, ...}}, ...}
-- (no change) Of n minutes since one, which may be told from the current one on, below 0. To the current
-- one belongs what the queue itself has counted and no tally has entered yet.
local at = math.floor(now / MINUTE)
if since <= 0 then
  since = at + since
end
local answer = {at}
for minute = since, math.min(since + n - 1, at) do
  local flat = call('HGETALL', P .. 'min:' .. text(minute))
  if #flat > 0 then
    answer[#answer + 1] = {minute, flat, minute == at and call('HGETALL', P .. 'ended') or {}}
  end
end
return answer

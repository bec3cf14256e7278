-- revive(P; downstream, {id, nonce, ended, header, body, priority}, ...) -> {word, ...}
-- completed -> enqueued | pending. Of many as many as a step has time for, and at least one.
local words = {}
insist()

-- When it ended, as its outcome told.
local function told_end(T)
  local before = tonumber((T.B or ''):match('^%d+ (%d+)') or 0)
  return text((tonumber(T.E) or 0) - before)
end

for i = rest, #ARGV, 6 do
  local id, nonce, ended = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local T = task(id)
  local F = T and T.s == COMPLETED and failure_of(T)
  local word
  if not T or nonce ~= '' and T.n ~= nonce then
    word = 'gone'
  elseif T.s ~= COMPLETED then
    word = 'live'
  elseif not F or ended ~= '0' and T.E ~= ended and ended ~= told_end(T) then
    word = 'gone'
  else
    word = revive(id, T, F, ARGV[i + 3], ARGV[i + 4], downstream ~= '', ARGV[i + 5])
  end
  words[#words + 1] = word
  if budget <= 0 then
    break
  end
end
conclude()
return words

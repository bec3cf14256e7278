-- forget(P; {id}, ...) -> {word, ...}
-- completed -> forgotten
local words = {}
for i, id in ipairs(ARGV) do
  local T = task(id)
  if not T then
    words[i] = 'unknown'
  elseif T.s ~= COMPLETED then
    words[i] = 'live'
  elseif T.i or call('EXISTS', P .. 'd:' .. id) == 1 then
    words[i] = 'pinned'
  else
    words[i] = 'forgotten'
    drop(P .. 't:' .. id, P .. 'r:' .. id)
  end
end
defer()
return words

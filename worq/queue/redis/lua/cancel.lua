-- cancel(P; {id}, ...) -> {word, ...}
-- pending | scheduled | enqueued | processing -> completed
insist()
local words = {}
for i, id in ipairs(ARGV) do
  local T = task(id)
  if not T then
    words[i] = 'unknown'
  elseif T.s == COMPLETED then
    words[i] = 'completed'
  else
    words[i] = 'cancelled'
    finish(id, T, verdict(id, T, 'c', 'cancelled'))
    work()
  end
end
conclude()
return words

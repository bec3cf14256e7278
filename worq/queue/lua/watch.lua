-- watch(P; client, {id}, ...) -> {{id, outcome, '' or nil}, ...}
-- (no change) Of each live task the client gets news; the others are the answer.
-- The first client of a task is in its hash, for most tasks have no other.
local answers = {}
for i = rest, #ARGV do
  local id = ARGV[i]
  local T = task(id)
  if T and T.s ~= COMPLETED then
    if not T.w then
      call('HSET', P .. 't:' .. id, 'w', client)
    elseif T.w ~= client then
      call('SADD', P .. 'w:' .. id, client)
    end
  else
    local record = T and T.r or false
    if T and not record then
      local size = call('STRLEN', P .. 'r:' .. id)
      record = size > SMALL and '' or size > 0 and call('GET', P .. 'r:' .. id)
    end
    table.insert(answers, {id, record})
  end
end
defer()
return answers

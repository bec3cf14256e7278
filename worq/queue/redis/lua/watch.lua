-- watch(P; client, {id}, ...) -> {id, outcome, '' or nil, ...}
-- (no change) Of each live task the client gets news; the others are the answer.
insist()   -- a full Redis is no reason to leave those in the dark who wait for it to be worked off
local answers = {}
for i = rest, #ARGV do
  local id = ARGV[i]
  local T = task(id)
  if T and T.s ~= COMPLETED then
    add_watcher(id, T, client)
  else
    table.insert(answers, id)
    table.insert(answers, short_outcome(id, T))
    if T and needed_only(T.f) then
      keep(id, T.f)
      if lent(T.f) then   -- else it has its time already
        let_end(id)
      end
    end
  end
end
defer()
return answers

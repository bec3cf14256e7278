-- verify(P; {id}, ...) -> {id, what, ...}
-- (no change) Live tasks that are not where their states say, among these and what they wait for:
-- as many as one step may look at.
insist()
note_work()
local found, seen, steps, stack = {}, {}, PUT_LIMIT, {}

local function look(id)
  local T = task(id)
  local what
  if not T or T.s == COMPLETED then
    what = untold(id)
  else
    what = astray(id, T)
    if not what and T.s == PENDING then
      for _, name in ipairs(T.x and {} or call('LRANGE', P .. 'a:' .. id, 0, BUDGET - 1)) do
        stack[#stack + 1] = name
      end
      stack[#stack + 1] = T.x or T.G
    end
  end
  if what then
    found[#found + 1], found[#found + 2] = id, what
  end
end

for i = #ARGV, 1, -1 do
  stack[#stack + 1] = ARGV[i]
end
while stack[1] and steps > 0 do
  local id = table.remove(stack)
  if not seen[id] then
    seen[id], steps = true, steps - 1
    look(id)
  end
end
defer()
return found

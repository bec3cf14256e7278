-- message(P; {id}, ...) -> {{nonce, header, body, size, argument, ...} or nil, ...}
-- (no change) What is not completed, or has failed, as it was put. Of the bodies so much as there is room for.
local room, answers = CONTENT, {}

local function arguments_of(id, T)
  local found = {}
  if T.s == COMPLETED then
    for i, argument in ipairs(call('LRANGE', P .. 'fa:' .. T.K, '0', PUT_LIMIT - 1)) do
      found[i] = argument:sub(NONCE + 1)
    end
  end
  local rest = T.s == COMPLETED and 'u:' .. T.n .. id or 'a:' .. id
  for _, argument in ipairs(call('LRANGE', P .. rest, '0', PUT_LIMIT - 1)) do
    found[#found + 1] = argument
  end
  return found
end

for i, id in ipairs(ARGV) do
  local T = task(id)
  local M = T and (T.s == COMPLETED and failure_of(T) or T.s ~= COMPLETED and T)
  answers[i] = false
  if M then
    local key = P .. (M == T and 'b:' .. id or 'fb:' .. T.K)
    local body, start = M.b, tonumber(M.c or 0) or 0
    local size = body and #body or math.max(call('STRLEN', key) - start, 0)
    if body then
      body = body:sub(1, room)
    else
      body = room > 0 and size > 0 and call('GETRANGE', key, start, start + room - 1) or ''
    end
    room = room - #body
    local head = M.h or call('GETRANGE', key, 0, text(start - 1))
    answers[i] = {T.n or '', head, body, size, unpack(arguments_of(id, T))}
  end
end
defer()
return answers

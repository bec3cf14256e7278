-- message(P; {id}, ...) -> {{nonce, header, body, size, argument, ...} or nil, ...}
-- (no change) What is not completed, as it was put. Of the bodies so much as there is room for.
local room, answers = CONTENT, {}
for i, id in ipairs(ARGV) do
  local T = task(id)
  answers[i] = false
  if T and T.s ~= COMPLETED then
    local body, start, key = T.b, tonumber(T.c or 0) or 0, P .. 'b:' .. id
    local size = body and #body or math.max(call('STRLEN', key) - start, 0)
    if body then
      body = body:sub(1, room)
    else
      body = room > 0 and size > 0 and call('GETRANGE', key, start, start + room - 1) or ''
    end
    room = room - #body
    answers[i] = {T.n or '', header(id, T), body, size, unpack(call('LRANGE', P .. 'a:' .. id, '0', PUT_LIMIT - 1))}
  end
end
defer()
return answers

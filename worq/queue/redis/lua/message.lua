-- message(P; from: int, argument: int, {id}, ...) -> {{nonce, header, body, size, options, arguments, seals, tail}, ...}
-- (no change) What is not completed, or has failed, as it was put. Of the bodies so much as there is room for.
local room, answers, last = CONTENT, {}, argument + PUT_LIMIT - 1

local function arguments_of(id, T)
  local found = {}
  if T.s == COMPLETED then
    for i, life in ipairs(call('LRANGE', P .. 'fa:' .. T.K, '0', '-1')) do
      found[i] = life:sub(NONCE + 1)
    end
    for _, name in ipairs(call('LRANGE', P .. 'u:' .. T.n .. id, '0', PUT_LIMIT - 1)) do
      found[#found + 1] = name
    end
    return {unpack(found, argument + 1, math.min(last + 1, #found))}, {}
  end
  found = T.a and call('LRANGE', P .. 'a:' .. id, argument, last) or {}
  return found, found[1] and not T.x and call('EXISTS', P .. 's:' .. id) == 1
    and call('HMGET', P .. 's:' .. id, unpack(found)) or {}
end

for at = rest, #ARGV do
  local id, i = ARGV[at], at - rest + 1
  local T = task(id)
  local M = T and (T.s == COMPLETED and failure_of(T) or T.s ~= COMPLETED and T)
  answers[i] = false
  if M then
    local key = P .. (M == T and 'b:' .. id or 'fb:' .. T.K)
    local body, start = M.b, tonumber(M.c or 0) or 0
    local size = body and #body or math.max(call('STRLEN', key) - start, 0)
    if body then
      body = body:sub(from + 1, from + room)
    else
      body = room > 0 and size > from and call('GETRANGE', key, start + from, start + from + room - 1) or ''
    end
    room = room - #body
    local head = M.h or call('GETRANGE', key, 0, text(start - 1))
    local arguments, seals = arguments_of(id, T)
    answers[i] = {T.n or '', head, body, size, {T.f or '', M.p or '', T.t or '', M.l or '', M.m or ''},
                  arguments, seals, T.x and T.s ~= COMPLETED and T.S or ''}
  end
end
defer()
return answers

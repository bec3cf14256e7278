-- put_noted(P; gate, client, register, value, if_was, {id, nonce, header, body, options}, ...) -> as put
-- (new) -> as put, and the register is changed with it. Else {register, 'changed', '', what it holds}.
local held = held_by(register)
if held ~= if_was then
  return {register, 'changed', '', held}
elseif not fits(held, value) then
  return {register, 'full', ''}
end
local refused = (function()
  PUT
end)()
if not refused then
  hold(register, value)
  if register == PAUSES then
    pauses_changed()
  end
end
return refused

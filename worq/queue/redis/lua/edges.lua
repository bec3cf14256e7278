-- edges(P; gate, id, nonce, start: int, {argument, nonce}, ...) -> {} or {id, word, argument}
-- pending -> pending | completed. More arguments for a task that its gate holds back.
local G, T = held_gate(gate), task(id)

local function add()
  if not G then
    return {id, 'unknown', gate}
  elseif not T or T.n ~= nonce or T.s == COMPLETED then   -- it is over
    return {}
  end
  local n = tonumber(T.a or 0)
  if n > start then   -- this has been sent before
    return {}
  elseif T.G ~= gate or n < start or T.x then
    return {id, 'unknown', id}
  elseif T.i or call('EXISTS', P .. 'd:' .. id) == 1 then
    return {id, 'pinned', ''}
  end
  local M = {id = id, n = nonce, f = T.f, u = 0, arguments = read_arguments(rest, #ARGV)}
  local refusal = judge(M)
  if refusal then
    return refusal
  elseif M.failed then
    finish(id, T, failure(M))
  elseif M.arguments[1] then
    call('HSET', P .. 't:' .. id, 'a', n + #M.arguments, 'u', T.u + M.u)
    bind(M)
    flush_edges()
  end
  return {}
end

local answer = add()
defer()
return answer

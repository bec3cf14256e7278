-- A delivery that came to nothing.

-- The last one fails the task; the first goes back to the front; those between wait 1, 4, 16 s.
-- `owner` is the pool if it says so itself, and may say so twice; else it is fenced off.
local function lost(id, T, cause, owner)
  local d, most = deliveries(T), T.m and sensible(T.m) or MAX_DELIVERIES
  if is_gate(T) then
    return finish(id, T, verdict(id, T, 'x', 'whoever was putting it has gone'), owner)
  elseif d >= most then
    local text = ('%s (delivery %d of %d)'):format(cause, d, most)
    return finish(id, T, verdict(id, T, 'x', text), owner)
  end
  call('ZREM', P .. 'lease', id)
  if not owner then
    call('HDEL', P .. 't:' .. id, 'o')
  end
  count('redelivered')
  if d < 2 then
    enqueue(id, T, front)
  else
    schedule(id, T, now + 4 ^ (d - 2) * 1000)
  end
end

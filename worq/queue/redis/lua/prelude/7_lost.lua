-- A delivery that came to nothing.

-- The last of these are kept for people: when, lengths of the pool, the cause and the progress, and
-- all three.
local function mourn(id, T, cause)
  local pool, progress, kept, at = T.o or '', (T.j or ''):sub(1, PROGRESS), {}, 1
  cause = cause:sub(1, CAUSE)
  while T.D do
    local p, c, j, text_at = T.D:match('^%d+ (%d%d?%d?%d?) (%d%d?%d?) (%d%d?%d?%d?) ()', at)
    if not p then
      break
    end
    kept[#kept + 1] = T.D:sub(at, text_at + p + c + j - 1)
    at = text_at + p + c + j
  end
  kept[#kept + 1] = ('%d %d %d %d '):format(now, #pool, #cause, #progress) .. pool .. cause .. progress
  T.D = table.concat(kept, '', math.max(#kept - DEATHS + 1, 1))
  call('HSET', P .. 't:' .. id, 'D', T.D)
end

-- The last one fails the task; the first goes back to the front; those between wait 1, 4, 16 s.
-- `owner` is the pool if it says so itself, and may say so twice; else it is fenced off.
local function lost(id, T, cause, owner)
  local d, most = deliveries(T), T.m and sensible(T.m) or MAX_DELIVERIES
  if is_gate(T) then
    return finish(id, T, verdict(id, T, 'x', 'whoever was putting it has gone'), owner)
  end
  mourn(id, T, cause)
  if d >= most then
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

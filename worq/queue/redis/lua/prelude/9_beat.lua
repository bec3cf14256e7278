-- Leases renewed, and those named that are not in force.

local function beat(pool, lease, from, to)
  local gone, renewed = {}, {}
  for i = from, to, 3 do
    local id, token = ARGV[i], ARGV[i + 1]
    local T = read(id)
    local same = T and T.n .. (T.e or 0) == token
    if same and T.s == PROCESSING and T.o == pool then
      table.insert(renewed, now + (T.l and sensible(T.l) or lease))
      table.insert(renewed, id)
      if ARGV[i + 2] ~= '' then
        call('HSET', P .. 't:' .. id, 'j', ARGV[i + 2])
      end
    elseif not T or T.n ~= token:sub(1, NONCE)   -- its life is over, and left nothing
        or same and T.s == COMPLETED and not T.o and kind(id, T) == 'c' then
      table.insert(gone, {id, token, 'cancelled'})
    else
      table.insert(gone, {id, token, 'lost'})
    end
  end
  push('ZADD', P .. 'lease', renewed)
  if call('ZSCORE', P .. 'pools', pool) or call('EXISTS', P .. 'pool:' .. pool) == 1 then
    call('ZADD', P .. 'pools', now, pool)
    expire(now + POOL_TTL * 1000, P .. 'pool:' .. pool)
  end
  return gone
end

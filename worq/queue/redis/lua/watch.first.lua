-- Tasks that are live and can be nothing else, as most are. As for put, this comes before the
-- prelude, which costs more; at the first one that is not so, all go on to watch.lua.
do
  local call, client = redis.call, ARGV[1]
  call('UNLINK', P .. '-')   -- see `insist`
  local meta = call('HMGET', KEYS[1], 'version', 'purges', 'more')
  local purges, plain = meta[2], not meta[3] and meta[1] == STAMP
  for i = 2, #ARGV do
    local key = P .. 't:' .. ARGV[i]
    local s, z, g, w = unpack(plain and call('HMGET', key, 's', 'z', 'g', 'w') or {})
    plain = s and s ~= COMPLETED and not z and g == purges and (not w or w == client)
    if not plain then
      break
    elseif not w then
      call('HSET', key, 'w', client)
    end
  end
  if plain then
    return {}
  end
end

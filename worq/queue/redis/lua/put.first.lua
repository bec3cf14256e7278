-- Plain tasks, as most are: new, due now, short, with neither arguments nor options. This comes
-- before the prelude, whose functions cost more than all of it, at each call; whatever is not
-- plain falls through to put.lua, and so it does where `m` has another number than ours, or none. A
-- pool that is woken does what is left over, too.
do
  local call = redis.call
  local meta = call('HMGET', KEYS[1], 'version', 'purges', 'skew')
  local purges, plain = meta[2], ARGV[1] == '' and meta[1] == STAMP and not meta[3]
  CLOCK
  local moment = ('%d'):format(server)
  -- One alone, as most are called: the loops and tables that many need would take a fifth of all.
  if plain and #ARGV == 7 then
    local client, id, nonce, header, body = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
    local key = P .. 't:' .. id
    if ARGV[7] == '' and #header <= FIELD and #body <= FIELD and call('EXISTS', key) == 0 then
      if purges then
        call('HSET', key, 's', ENQUEUED, 'n', nonce, 'h', header, 'b', body, 'C', moment, 'g', purges)
        if client ~= '' then
          call('HSET', key, 'w', client)
        end
      elseif client == '' then
        call('HSET', key, 's', ENQUEUED, 'n', nonce, 'h', header, 'b', body, 'C', moment)
      else
        call('HSET', key, 's', ENQUEUED, 'n', nonce, 'h', header, 'b', body, 'C', moment, 'w', client)
      end
      -- Behind so many there is nobody to wake: each of them has brought a token, or found enough.
      if call('RPUSH', P .. 'q:1', nonce .. id) <= WAKES and call('LLEN', P .. 'wake') < WAKES then
        call('RPUSH', P .. 'wake', '')
      end
      return nil   -- not {}: see put.lua
    end
    plain = false
  end
  plain = plain and ARGV[2] == ''
  local ready, seen = {}, {}
  for i = 3, plain and #ARGV or 0, 5 do
    local id = ARGV[i]
    local options = ARGV[i + 4]
    plain = (options == '' or options == 'n') and #ARGV[i + 2] <= FIELD and #ARGV[i + 3] <= FIELD
      and not seen[id] and call('EXISTS', P .. 't:' .. id) == 0
    if not plain then
      break
    end
    seen[id] = true
    ready[#ready + 1] = ARGV[i + 1] .. id
  end
  if plain then
    for i = 3, #ARGV, 5 do
      local key = P .. 't:' .. ARGV[i]
      if ARGV[i + 4] ~= '' then   -- as a map makes them
        call('HSET', key, 's', ENQUEUED, 'n', ARGV[i + 1], 'h', ARGV[i + 2], 'b', ARGV[i + 3],
             'C', moment, 'f', ALONE)
        if purges then
          call('HSET', key, 'g', purges)
        end
      elseif purges then
        call('HSET', key, 's', ENQUEUED, 'n', ARGV[i + 1], 'h', ARGV[i + 2], 'b', ARGV[i + 3],
             'C', moment, 'g', purges)
      else
        call('HSET', key, 's', ENQUEUED, 'n', ARGV[i + 1], 'h', ARGV[i + 2], 'b', ARGV[i + 3],
             'C', moment)
      end
    end
    call('RPUSH', P .. 'q:1', unpack(ready))
    for _ = 1, math.min(#ready, WAKES - call('LLEN', P .. 'wake')) do
      call('RPUSH', P .. 'wake', '')
    end
    return nil   -- not {}: see put.lua
  end
end

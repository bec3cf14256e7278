-- What no script fails on: a task that is not where its state says, since somebody has deleted,
-- renamed or changed a key. Each answers with a text of what is wrong, or nothing.

-- A look at a long list goes so far; what it has not found then is taken to be there.
local function listed(list, entry)
  local key = P .. list
  if call('LPOS', key, entry, 'MAXLEN', FAR) then
    return true
  end
  local n = call('LLEN', key)
  return n > FAR and (n > 2 * FAR or call('LPOS', key, entry, 'RANK', '-1', 'MAXLEN', FAR))
end

-- Whether what a pending task waits for knows of it. Of more arguments than `most` some are looked at.
local function forgotten(id, T, most)
  local entry, n, open = T.n .. id, tonumber(T.a or 0) or -1, 0
  if T.x then
    return not listed('d:' .. T.x, entry) and 'what it waits for does not know of it'
  elseif n ~= call('LLEN', P .. 'a:' .. id) then
    return 'its arguments are lost'
  end
  local from = n > most and now % (n - most) or 0
  for _, argument in ipairs(call('LRANGE', P .. 'a:' .. id, from, from + most - 1)) do
    if listed('d:' .. argument, entry) then
      open = open + 1
    elseif n > most and call('HGET', P .. 't:' .. argument, 's') ~= COMPLETED then
      return 'an argument does not know of it'
    end
  end
  if T.G and listed('d:' .. T.G, entry) then
    open = open + 1
  end
  if n <= most and open ~= tonumber(T.u or 0) or open == 0 and T.u == '0' then
    return 'what it waits for does not know of it'
  end
end

local function astray(id, T, most)
  local s = T.s
  if not T.n or #T.n ~= NONCE or not s or not s:match('^[pseac]$')
      or (tonumber(T.g or 0) or 0) > purges then
    return 'its record makes no sense'
  elseif s == ENQUEUED then
    if T.L and T.L ~= '-' then
      local side, name = side_of(T), name_of(id, T)
      return not (call('ZSCORE', P .. 'aside:' .. side, aside_member(id, T, name))
                  and call('ZSCORE', P .. 'lines:' .. side, name))
        and 'it is in no line of what was put aside'
    end
    return not listed(lane_of(T), T.n .. id) and 'it is in no list of what is ready'
  elseif s == COMPLETED then
    return nil
  end
  local at = tonumber(call('ZSCORE', P .. INDEX[s], id) or nil)
  if not at then
    return 'it is in no list of what is ' .. (s == PENDING and 'pending' or s == SCHEDULED
           and 'scheduled' or 'running')
  elseif at > now + REACH then
    return 'it is listed for a time that never comes'
  end
  return s == PENDING and forgotten(id, T, most or PUT_LIMIT) or nil
end

-- A task that is done or gone, and of which others still wait to hear.
local function untold(id)
  if call('EXISTS', P .. 'd:' .. id) == 1 and not listed('rel', id) then
    return 'what depends on it was not told of its end'
  end
end

-- What is left over is done only where there is a note of it.
local function note_work()
  if meta[7] ~= '1' and any_aside() then
    call('HSET', KEYS[1], 'names', '1')
    meta[7] = '1'
  end
  if not meta[4] and call('EXISTS', P .. 'rel', P .. 'unpin', P .. 'trash', P .. 'loops',
                              P .. 'again') > 0 then
    call('HSET', KEYS[1], 'more', 1)
    meta[4] = '1'
  end
end

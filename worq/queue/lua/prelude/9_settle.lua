-- What each word of an outcome does.

local function release(id, T)
  call('ZREM', P .. 'lease', id)
  call('HSET', P .. 't:' .. id, 'd', deliveries(T) - 1)
  enqueue(id, T, front)
end

local steps = CHAIN   -- along tail calls; each leads to one other, so they cost little

-- No pin: the edge alone keeps the outcome of `target` until it has been copied.
local function delegate(id, T, pool, data)
  -- Would `target` wait for `id`? The search is bounded: a longer cycle goes unseen.
  local function waits_for(target, id)
    local stack, seen, nodes = {target}, {}, 0
    while #stack > 0 and nodes < BUDGET do
      local node = table.remove(stack)
      if node == id then
        return true
      end
      local s, x = unpack(seen[node] and {} or call('HMGET', P .. 't:' .. node, 's', 'x'))
      seen[node] = true
      if x and steps > 0 then
        steps = steps - 1
      else
        nodes = nodes + 1
      end
      if s == PENDING and x then
        table.insert(stack, x)
      elseif s == PENDING then
        for _, argument in ipairs(call('LRANGE', P .. 'a:' .. node, 0, BUDGET - 1)) do
          table.insert(stack, argument)
        end
      end
    end
    return false
  end

  local nonce, target = data:sub(1, NONCE), data:sub(NONCE + 1)
  local U = task(target)
  local known = U and (nonce == (' '):rep(NONCE) or U.n == nonce)
    and not ignored(U) and not is_gate(U)
  local raw = known and U.s == COMPLETED and outcome(target, U)
  if raw then
    return finish(id, T, inherit(T.n, target, raw), pool)
  elseif not known or U.s == COMPLETED then
    return finish(id, T, verdict(id, T, 'x', 'the Deferred it returned is unknown'), pool)
  elseif waits_for(target, id) then
    return finish(id, T, verdict(id, T, 'x', 'it returned a Deferred that waits for itself'),
                  pool)
  end
  call('ZREM', P .. 'lease', id)
  call('HSET', P .. 't:' .. id, 's', PENDING, 'x', target, generation(T))
  call('ZADD', P .. 'wait', now, id)
  call('RPUSH', P .. 'd:' .. target, T.n .. id)
  call('HSET', P .. 't:' .. target, 'k', 1)
end

local function apply(id, T, pool, word, data)
  if word == 'value' or word == 'failure' then
    finish(id, T, data, pool)
  elseif is_gate(T) then
    lost(id, T, '', pool)
  elseif word == 'delegate' then
    delegate(id, T, pool, data)
  elseif word == 'release' then
    release(id, T)
  elseif word == 'lost' then
    lost(id, T, data, pool)
  elseif word == 'expire' then
    finish(id, T, verdict(id, T, 'x', data), pool)
  elseif word == 'retry' then
    local delay, memo = data:match('^(%d+) (.*)$')
    call('ZREM', P .. 'lease', id)
    call('HSET', P .. 't:' .. id, 'd', 0)
    if memo ~= '' then
      call('HSET', P .. 't:' .. id, 'y', memo)
    elseif T.y then
      call('HDEL', P .. 't:' .. id, 'y')
    end
    if tonumber(delay) > 0 then
      schedule(id, T, now + delay)
    else
      enqueue(id, T, back)
    end
  else   -- refuse
    local alive = call('ZRANGEBYSCORE', P .. 'pools', now - LEASE, '+inf', 'LIMIT', 0, 2)
    local others = alive[1] and (alive[1] ~= pool or alive[2])
    if deliveries(T) >= tonumber(T.m or MAX_DELIVERIES) or not others then
      return finish(id, T, data, pool)
    end
    call('ZREM', P .. 'lease', id)
    schedule(id, T, now + 1000)
  end
end

-- Answers {index from 0, word, ...}, for nearly all of them are 'ok' and need none.
local function settle(pool, from, n)
  local words = {}
  for i = from, from + 4 * n - 1, 4 do
    local id, token = ARGV[i], ARGV[i + 1]
    local T = read(id)
    local word
    if not T then
      word = 'gone'
    elseif T.n .. (T.e or 0) ~= token or T.o ~= pool then
      word = 'stale'
      count('stale')
    elseif T.s ~= PROCESSING then
      word = 'again'
    else
      budget = budget + 1   -- it pays for a dependent, or an argument
      apply(id, T, pool, ARGV[i + 2], ARGV[i + 3])
    end
    if word then
      table.insert(words, (i - from) / 4)
      table.insert(words, word)
    end
  end
  work()
  flush_ready()
  return words
end

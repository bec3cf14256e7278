-- What each word of an outcome does.

local function release(id, T)
  call('ZREM', P .. 'lease', id)
  call('HSET', P .. 't:' .. id, 'd', deliveries(T) - 1)
  enqueue(id, T, front)
end

local looks = BUDGET   -- of all searches for a circle

-- What a task has made to return it, and nobody else has asked for, is kept no longer than what it
-- comes to; and so is what that has returned in turn.
local function keep_as(T, id, U)
  local ttl, steps = ignored(T) and TICK or sensible(T.t) or RESULT_TTL, BUDGET
  while ttl < RESULT_TTL and not U.t and steps > 0 do
    call('HSET', P .. 't:' .. id, 't', ttl)
    if U.s == COMPLETED then
      let_end(id)
    end
    id, steps = U.x, steps - 1
    U = id and read(id)
    if not U or U.k ~= MADE or U.w or U.i then
      return
    end
  end
end

-- No pin: the edge alone keeps the outcome of `target` until it has been copied.
local function delegate(id, T, pool, data)
  local nonce, size, at = data:sub(1, NONCE), data:match('^(%d+):()', NONCE + 1)
  local seal, target = data:sub(at, at + size - 1), data:sub(at + size)
  local U = task(target)
  local known = U and (nonce == (' '):rep(NONCE) or U.n == nonce)
    and not ignored(U) and not is_gate(U)
  local raw = known and U.s == COMPLETED and outcome(target, U)
  -- Its id is its nonce, so others cannot know it; and who names the life has called it.
  local made = known and nonce == target and not U.k and not U.i and not U.w
  if made then
    keep_as(T, target, U)
  end
  if raw and sign_anew(id, T, target, seal, raw) then
    return call('ZREM', P .. 'lease', id)
  elseif raw then
    T.x, T.S = target, seal ~= '' and seal or nil
    return finish(id, T, inherit(T.n, seal, target, raw), pool)
  elseif not known or U.s == COMPLETED then
    return finish(id, T, verdict(id, T, 'x', 'the Deferred it returned is unknown'), pool)
  end
  T.x = target
  if target == id then
    return close_circle(id, T, pool)
  end
  call('ZREM', P .. 'lease', id)
  call('HSET', P .. 't:' .. id, 's', PENDING, 'x', target, generation(T))
  if seal ~= '' then
    T.S = seal
    call('HSET', P .. 't:' .. id, 'S', seal)
  elseif T.S then
    T.S = nil
    call('HDEL', P .. 't:' .. id, 'S')
  end
  call('ZADD', P .. 'wait', now, id)
  call('RPUSH', P .. 'd:' .. target, T.n .. id)
  call('HSET', P .. 't:' .. target, 'k', made and MADE or 1)
  if U.s ~= PENDING or not T.i and not T.k then
    return   -- it waits for nothing, or nothing waits for this one
  end
  local circle
  circle, looks = search(T.n .. id, U.n .. target, looks, false)
  if circle then
    call('RPOP', P .. 'd:' .. target)
    T.s, T.g = PENDING, purges > 0 and purges or T.g
    close_circle(id, T, pool)
  elseif circle == nil then
    call('RPUSH', P .. 'loops', T.n .. id)
    call('HSET', KEYS[1], 'more', 1)
    meta[4] = '1'
  end
end

local function apply(id, T, pool, word, data)
  if word == 'value' or word == 'failure' then
    finish(id, T, data, pool, true)
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
    call('HSET', P .. 't:' .. id, 'd', 0, 'A', (sensible(T.A) or 0) + 1)
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
  elseif word == 'unknown' then
    return unknown_here(id, T, pool, data)
  else   -- refuse
    local alive = call('ZRANGEBYSCORE', P .. 'pools', now - LEASE, '+inf', 'LIMIT', 0, 2)
    local others = alive[1] and (alive[1] ~= pool or alive[2])
    if deliveries(T) >= (T.m and sensible(T.m) or MAX_DELIVERIES) or not others then
      return finish(id, T, data, pool)
    end
    call('ZREM', P .. 'lease', id)
    schedule(id, T, now + 1000)
  end
end

-- What a gate holds back, and was begun elsewhere: by whoever holds that.
local function settle_held(id, T, pool, word, data)
  local G = T.s == PENDING and T.G == pool and not T.a and not T.x and not purged(T)
    and ('value failure expire delegate'):find(word, 1, true) and read(pool)
  if not (G and G.s == PROCESSING and is_gate(G)) then
    count('stale')
    return 'stale'
  end
  T.o = pool
  call('HSET', P .. 't:' .. id, 'o', pool)
  if word == 'delegate' then
    delegate(id, T, pool, data)
  else
    finish(id, T, word == 'expire' and verdict(id, T, 'x', data) or data, pool)
  end
end

-- Answers {index from 0, word, ...}, for nearly all of them are 'ok' and need none.
local function settle(pool, from, n)
  local words = {}
  for i = from, from + 5 * n - 1, 5 do
    local id, token = ARGV[i], ARGV[i + 1]
    local T = read(id)
    local word
    if not T then
      word = 'gone'
    elseif T.n .. (T.e or 0) ~= token or T.o ~= pool then
      if not T.e and T.n .. 0 == token then
        word = settle_held(id, T, pool, ARGV[i + 2], ARGV[i + 3])
      else
        word = 'stale'
        count('stale')
      end
    elseif T.s ~= PROCESSING then
      word = 'again'
    else
      T.B = ARGV[i + 4] ~= '' and ARGV[i + 4] or nil
      budget = budget + 1   -- it pays for a dependent, or an argument
      if ARGV[i + 2] ~= 'value' or not finish_plain(id, T, ARGV[i + 3]) then
        word = apply(id, T, pool, ARGV[i + 2], ARGV[i + 3])
      end
    end
    if word then
      table.insert(words, (i - from) / 5)
      table.insert(words, word)
    end
  end
  work()
  flush_ready()
  return words
end

-- The way that an outcome has come, along edges that others have sealed.

-- The outcome `raw` of `id` as it comes to the life `nonce` of another, along an edge that has this
-- seal. Hops are told as `worq.queue.base` says; what makes no sense is passed on as it is.
local function inherit(nonce, seal, id, raw)
  local letter, rest = raw:sub(NONCE + 1, NONCE + 1), raw:sub(NONCE + 2)
  local kind, here = letter:upper(), raw:sub(1, NONCE) .. #id .. ':' .. id
  local told = seal ~= '' and (kind == 'V' or kind == 'F')
  if letter ~= kind and not told then
    return nonce .. kind .. here .. rest
  end
  here = here .. #seal .. ':' .. seal
  if letter ~= kind then
    return nonce .. kind .. '1:' .. here .. rest
  end
  local n, at = rest:match('^(%d%d?):()')
  n = tonumber(n)
  if not n or not told then
    return nonce .. kind .. rest
  elseif n < LINKS then
    return nonce .. kind .. n + 1 .. ':' .. here .. rest:sub(at)
  end
  -- The last but one is left out, and so the last needs no seal.
  local before, from, to, seal_at = at, at, at, at
  for i = 1, n do
    before, from = from, to
    local size, id_at = rest:match('^(%d%d?%d?):()', to + NONCE)
    seal_at = size and id_at + size
    local length, next = rest:match('^(%d%d?%d?):()', seal_at or 0)
    if not length then
      return nonce .. kind .. rest
    end
    to = next + length
  end
  return nonce .. kind .. n .. ':' .. here .. rest:sub(at, before - 1)
    .. rest:sub(from, seal_at - 1) .. '0:' .. rest:sub(to)
end

-- A value that has come along so many tail calls is signed by whoever takes the task next. What it
-- came from is pinned meanwhile, as an argument. Answers whether it is so.
local function sign_anew(id, T, target, seal, raw)
  local n = seal ~= '' and raw:match('^V(%d%d?):', NONCE + 1)
  if not n or tonumber(n) < LINKS or ignored(T) then
    return false
  end
  local key, source = P .. 't:' .. id, P .. 't:' .. target
  if call('LINDEX', P .. 'a:' .. id, -1) ~= target then
    T.a = call('RPUSH', P .. 'a:' .. id, target)
    call('HSET', key, 'a', T.a)
    call('HINCRBY', source, 'i', '1')
    persist(source)
    persist(P .. 'r:' .. target)
  end
  call('HSET', key, 'x', target, 'y', seal, 'd', '0')
  call('HDEL', key, 'S', 'G', 'u')
  T.G, T.u = nil, nil   -- of one that has been moved: it is signed, not begun
  enqueue(id, T, front)
  return true
end

-- The one way to become ready, to be counted, and to tell those who wait.
-- Each gathers; `flush` writes, so that a batch costs a few commands. `done` is what had a lease,
-- `met` what waits for nothing any more.
local soon = false   -- whether something is due before all idle pools have looked again anyway
-- `ended_by` is what no pool counts, by how it ended and its name.
local counted, back, front, news, done, met, ended_by = {}, {}, {}, {}, {}, {}, {}
local fallen = nil   -- what ended without a value, by letter: moments and lives; and when all of that ends

local function count(name, by)
  counted[name] = (counted[name] or 0) + (by or 1)
end

local function due_at(moment)
  soon = soon or moment - now < SOON
end

-- Its lane: by its priority, whatever is there, and whether it has arguments. See `take`.
local function lane_of(T)
  return (T.a and 'q:c' or 'q:') .. (T.p == '0' and '0' or T.p == '2' and '2' or '1')
end

local function any_ready()
  return call('EXISTS', P .. 'q:c0', P .. 'q:0', P .. 'q:c1', P .. 'q:1', P .. 'q:c2', P .. 'q:2') > 0
end

local function line_up(id, T, side)
  local lane = lane_of(T)
  side[lane] = side[lane] or {}
  table.insert(side[lane], T.n .. id)
end

-- What expires may have been taken off `exp` while it was processed. Without a `side` it has yet to
-- be put somewhere.
local function enqueue(id, T, side)
  if T.L then   -- it was handed out though nobody knew its name
    T.L = nil
    call('HDEL', P .. 't:' .. id, 'L')
  end
  T.R = text(now)
  call('HSET', P .. 't:' .. id, 's', ENQUEUED, 'R', T.R, generation(T))
  if T.z then
    call('ZADD', P .. 'exp', T.z, id)
  end
  T.s = ENQUEUED
  if side then
    line_up(id, T, side)
  end
end

local function schedule(id, T, due)
  if T.L then
    T.L = nil
    call('HDEL', P .. 't:' .. id, 'L')
  end
  call('HSET', P .. 't:' .. id, 's', SCHEDULED, generation(T))
  T.s = SCHEDULED
  call('ZADD', P .. 'sched', due, id)
  due_at(due)
  if T.z then
    call('ZADD', P .. 'exp', T.z, id)
  end
end

local function tell(id, T, record)
  local entry = #id .. ':' .. id
  if not record then
    entry = 'n' .. entry
  elseif #record > SMALL then
    entry = 'l' .. entry
  else
    entry = 'r' .. entry .. record
  end
  local clients = attempt('SRANDMEMBER', P .. 'w:' .. id, CHUNK)   -- all, or what others wrote
  if clients.err and not clients.err:find('WRONGTYPE', 1, true) then
    error(clients.err)
  end
  if #clients > 0 then
    drop(P .. 'w:' .. id)
  end
  table.insert(clients, T.w)
  for _, client in ipairs(clients) do
    news[client] = news[client] or {}
    table.insert(news[client], entry)
  end
end

-- At most WAKES tokens: each wakes one idle pool, which passes the baton if work remains.
local function wake(n)
  n = math.min(n, WAKES - call('LLEN', P .. 'wake'))
  if n > 0 then
    local tokens = {}
    for i = 1, n do
      tokens[i] = ''
    end
    call('RPUSH', P .. 'wake', unpack(tokens))
  end
end

local function flush_ready()
  local n = 0
  push('ZREM', P .. 'lease', done)
  push('ZREM', P .. 'wait', met)
  for lane, list in pairs(back) do
    push('RPUSH', P .. lane, list)
    n = n + #list
  end
  for lane, list in pairs(front) do
    local reverse = {}
    for i = #list, 1, -1 do
      table.insert(reverse, list[i])
    end
    push('LPUSH', P .. lane, reverse)
    n = n + #list
  end
  back, front, done, met = {}, {}, {}, {}
  if n > 0 then
    wake(n)
  end
end

-- The order of what ended without a value is kept for people. So it is made anew where others have written
-- something else, it is bounded, and it ends with the last that it has. What is pinned has no end yet.
local function list_fallen()
  for letter, list in pairs(fallen) do
    local key = P .. 'over:' .. letter
    local size = attempt('ZCARD', key)
    if type(size) == 'table' then
      drop(key)
      size = 0
    end
    push('ZADD', key, list)
    if size + #list / 2 > ENDED then
      call('ZPOPMIN', key, text(size + #list / 2 - ENDED))
    end
    if not list.ends then
      persist(key)
    elseif size == 0 then
      expire(list.ends, key)
    else
      prolong(list.ends, key)
    end
  end
  fallen = nil
end

local function flush()
  flush_ready()
  if fallen then
    list_fallen()
  end
  for name, by in pairs(counted) do
    if not add(KEYS[1], name, by) then
      call('HSET', KEYS[1], name, by)
    end
  end
  for client, entries in pairs(news) do
    push('RPUSH', P .. 'in:' .. client, entries)
    expire(now + INBOX_TTL * 1000, P .. 'in:' .. client)
  end
  counted, news = {}, {}
  for what, by in pairs(ended_by) do
    -- Until the next `tally`. Names that callers have invented are not to use up those there may be.
    if #what == 1 or call('HEXISTS', P .. 'tot', what:sub(2)) == 0 and call('HEXISTS', P .. 'ended', what) == 0
        and call('HLEN', P .. 'tot') + call('HLEN', P .. 'ended') >= TALLIED / 2 then
      what = what:sub(1, 1) .. OTHER
    end
    add(P .. 'ended', what, by)
  end
  ended_by = {}
  if soon then
    wake(1)   -- some pool is to come and hear when it is due; behind a take, which drops tokens
  end
  if meta[4] and call('EXISTS', P .. 'wake') == 0 then
    wake(1)   -- some pool is to come and do what is left over
  end
end

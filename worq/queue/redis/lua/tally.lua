-- tally(P; pool, number: int, n: int, {name, cell}, ..., {id, nonce, name, ms ago}, ...) -> 'ok'
-- (no change) What a pool has counted, n cells, is added to the minute and to what has been counted
-- ever; once, by its number. With it goes what the queue itself has counted since the last one.
local mine, ever, ended = P .. 'tally:' .. pool, P .. 'tot', P .. 'ended'
local last = call('GET', mine)
if last and (tonumber(last) or 0) >= number then
  return 'ok'
end
call('SET', mine, number)
expire(now + POOL_TTL * 1000, mine)
local at = math.floor(now / MINUTE)
local page = P .. 'min:' .. text(at)

local function enter(name, cell)
  if name == '' or call('HEXISTS', ever, name) == 0 and call('HLEN', ever) >= TALLIED then
    name = OTHER
  end
  add_cell(ever, name, cell)
  add_cell(page, '-' .. name, cell)
end

local recent = rest + 2 * n
for i = rest, recent - 1, 2 do
  enter(ARGV[i], ARGV[i + 1])
end
if call('HLEN', ended) > 4 * TALLIED then
  drop(ended)   -- it is not ours
end
local flat, entered = call('HGETALL', ended), {}
for i = 1, math.min(#flat, 2 * TELLS), 2 do   -- the next tally has the rest
  enter(flat[i]:sub(2), flat[i]:sub(1, 1) .. ':' .. flat[i + 1])
  entered[#entered + 1] = flat[i]
end
if entered[1] then
  call('HDEL', ended, unpack(entered))
end
call('HSET', page, '', ('%d %d %d %d'):format(all_sizes()))
expire((at + MINUTES) * MINUTE, page)
for i = recent, #ARGV, 4 do
  local id, nonce, name, ago = unpack(ARGV, i, i + 3)
  call('LPUSH', P .. 'recent', ('%d %s %d %d '):format(now - ago, nonce, #id, #name) .. id .. name .. pool)
end
if recent <= #ARGV then
  call('LTRIM', P .. 'recent', 0, RECENT - 1)
  expire(now + MINUTES * MINUTE, P .. 'recent')
end
return 'ok'

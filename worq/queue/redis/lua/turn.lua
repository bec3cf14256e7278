-- turn(P; pool, lease: int, limit: int, n: int, ...) -> {words, lost, deliveries, pause or nil}
-- settle n times {id, token, word, data, age}, beat the rest, {id, token, progress}, do what is due, take
-- The rest is '' where nothing is held, and the pool is to be known to live all the same.
insist()
local words = settle(pool, rest, n)
local held = rest + 5 * n
local last = ARGV[held] == '' and held - 1 or #ARGV
local gone = held <= #ARGV and beat(pool, lease, held, last) or {}
tick()
local taken = limit > 0 and take(pool, limit, lease) or {}
conclude()
return {words, gone, taken, limit > 0 and #taken == 0 and pause() or nil}

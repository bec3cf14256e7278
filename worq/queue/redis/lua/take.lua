-- take(P; pool, limit: int, lease: int) -> {{delivery ..., ...}, pause}
-- enqueued -> processing. A plain delivery is id, token, number, header, body, each an element of
-- the answer, for Redis sends a piece for each table in it. The others are tables: of these five,
-- start, arguments, and the memo if there is one.
-- `pause` is how many ms may pass before something else may be due.
insist()
tick()
local taken = take(pool, limit, lease)
conclude()
if meta[4] or #taken == 0 and any_ready() and not stopped() then
  return {taken, 0}
end
return {taken, math.min(pause() or TICK, TICK)}

-- What is kept of a task that has failed, as a table of its fields; nil if nothing is.
local function failure_of(T)
  local key = P .. 'fh:' .. (T.K or '')
  local n = T.K and attempt('HLEN', key)   -- whatever others have written there
  local flat = type(n) == 'number' and 2 * n <= RECORD and call('HGETALL', key) or {}
  local F = {}
  for i = 1, #flat, 2 do
    F[flat[i]] = flat[i + 1]
  end
  return F.n == T.n and F or nil
end

-- What is kept of a task that has failed, as a table of its fields; nil if nothing is.
local function failure_of(T)
  local flat = T.K and attempt('HGETALL', P .. 'fh:' .. T.K) or {}
  local F = {}
  for i = 1, #flat, 2 do
    F[flat[i]] = flat[i + 1]
  end
  return F.n == T.n and F or nil
end

-- The first client of a task is in its hash, for most tasks have no other.
local function add_watcher(id, T, client)
  if not T.w then
    call('HSET', P .. 't:' .. id, 'w', client)
  elseif T.w ~= client then
    call('SADD', P .. 'w:' .. id, client)
  end
end

-- The leases of one pool.

-- Calls visit(id, T) for what the pool has leased, in the order of the deadlines.
local function each_lease(pool, visit)
  for _, id in ipairs(call('ZRANGE', P .. 'lease', 0, -1)) do
    if call('HGET', P .. 't:' .. id, 'o') == pool then
      visit(id, read(id))
    end
  end
end

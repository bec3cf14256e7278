-- The leases of one pool.

-- Calls visit(id, T) for what the pool has leased and `wanted(T)`, in the order of the deadlines.
-- Of many for the last LEASES_LIMIT, so that the next step puts in front what was before them.
local function each_lease(pool, wanted, visit)
  local ids, found = call('ZRANGE', P .. 'lease', 0, -1), {}
  for i = #ids, 1, -1 do
    local T = call('HGET', P .. 't:' .. ids[i], 'o') == pool and read(ids[i])
    if T and wanted(T) then
      found[#found + 1] = {ids[i], T}
      if #found == LEASES_LIMIT then
        break
      end
    end
  end
  for i = #found, 1, -1 do
    visit(unpack(found[i]))
  end
  return #found
end

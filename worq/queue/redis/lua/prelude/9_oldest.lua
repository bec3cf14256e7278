-- How long the oldest has been ready, in ms, by priority; -1 if none is. Of the first few of each lane;
-- entries whose task is over or taken do not count.
local function all_ages()
  local ages = {}
  for p = 0, 2 do
    ages[p + 1] = -1
    for _, lane in ipairs({'q:c', 'q:'}) do
      local left = LOOK
      for _, entry in ipairs(call('LRANGE', P .. lane .. p, 0, BUDGET)) do
        local id = entry:sub(NONCE + 1)
        local T = read(id)
        if T and T.s == ENQUEUED and T.n .. id == entry and not purged(T) then
          local ready = tonumber(T.R or T.C) or now   -- others may have written it
          ages[p + 1] = math.max(ages[p + 1], ready > 0 and ready < now and now - ready or 0)
          left = left - 1
          if left == 0 then
            break
          end
        end
      end
    end
  end
  return ages
end

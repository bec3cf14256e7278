-- Cells: counts as text, see `worq.tally`, which adds them up alike.

local function add_tokens(sums, order, cell)
  for token in cell:sub(1, CELL):gmatch('%S+') do
    local key, number = token:match('^(%l%d*):(%d+)$')
    local value = number and #number <= 18 and tonumber(number)
    if not number then
      key, value = token:match('^(%l%d*)=(.+)$')
    end
    if key and value then
      local old = sums[key]
      if not old then
        order[#order + 1] = key
      end
      sums[key] = type(old) == 'number' and type(value) == 'number' and old + value or value
    end
  end
end

local function added_cells(one, other)
  local sums, order = {}, {}
  add_tokens(sums, order, one)
  add_tokens(sums, order, other)
  for i, key in ipairs(order) do
    local value = sums[key]
    order[i] = key .. (type(value) == 'number' and ':' .. text(value) or '=' .. value)
  end
  return table.concat(order, ' ')
end

-- Adds a cell to that of a name in one of these hashes.
local function add_cell(key, name, cell)
  call('HSET', key, name, added_cells(call('HGET', key, name) or '', cell))
end

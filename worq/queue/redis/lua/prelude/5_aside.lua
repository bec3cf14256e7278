-- The lines of what stands aside, by name, see `6_names.lua`.

local function name_of(id, T)
  return header(id, T):match('^[^\n]*')
end

local function side_of(T)
  return lane_of(T):sub(3)
end

local function aside_member(id, T, name)
  return name .. '\n' .. T.L .. T.n .. id
end

local function first_aside(side, name)
  return call('ZRANGE', P .. 'aside:' .. side, '[' .. name .. '\n', '(' .. name .. '\v', 'BYLEX', 'LIMIT', '0',
              '1')[1]
end

-- Of a member whose name is known: its number, nonce and id.
local function aside_parts(entry, name)
  local at = #name + 2
  return entry:sub(at, at + SERIAL - 1), entry:sub(at + SERIAL, at + SERIAL + NONCE - 1),
    entry:sub(at + SERIAL + NONCE)
end

-- Takes one out of its line; answers the number of the one that is first then, and whether it was there.
local function step_out(side, name, entry)
  local there = call('ZREM', P .. 'aside:' .. side, entry) == 1
  local next = first_aside(side, name)
  local serial = next and aside_parts(next, name)
  if serial then
    call('ZADD', P .. 'lines:' .. side, serial, name)
  else
    call('ZREM', P .. 'lines:' .. side, name)
  end
  return serial, there
end

-- The same of one that ends; answers whether it was there.
local function leave_line(id, T, name)
  if not T.L or T.L == '-' then
    return false
  end
  local _, there = step_out(side_of(T), name, aside_member(id, T, name))
  return there
end

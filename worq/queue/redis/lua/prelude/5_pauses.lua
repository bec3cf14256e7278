-- What is paused, as the register says: a line for each, with a name, `prefix.*`, or `*` for all, a tab,
-- and what is for people. While there is any, `m` has `names` as 1.
local paused = nil
local function pauses()
  if not paused then
    paused = {any = false, all = false, names = {}, prefixes = {}}
    for pattern in held_by(PAUSES):gmatch('([^\t\n]+)\t[^\n]*') do
      paused.any, paused.names[pattern] = true, true
      if pattern == '*' then
        paused.all = true
      elseif pattern:sub(-2) == '.*' then
        paused.prefixes[pattern:sub(1, -2)] = true
      end
    end
  end
  return paused
end

local function is_paused(name)
  local all = pauses()
  if all.all or all.names[name] then
    return true
  end
  for at in name:sub(1, NOTE_NAME):gmatch('%.()') do   -- each prefix ends with a dot
    if all.prefixes[name:sub(1, at - 1)] then
      return true
    end
  end
  return false
end

-- Whether the whole queue is paused.
local function stopped()
  return meta[7] == '1' and pauses().all
end

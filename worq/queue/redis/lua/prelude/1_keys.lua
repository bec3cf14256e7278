-- What everything else needs. Functions cost a little at each call of a script, so there are
-- few here, and what is rare is defined where it is used.
local call = redis.call

-- A whole number as Redis gets it: to write out one that is a number takes it longer than to run
-- most commands, so one that is used many times comes as text.
local function text(number)
  return number == 1 and '1' or ('%d'):format(number)
end

local function push(verb, key, list)
  for i = 1, #list, CHUNK do
    call(verb, key, unpack(list, i, math.min(i + CHUNK - 1, #list)))
  end
end

-- A full Redis refuses a script whose first write may need memory, and then only.
-- What gives memory back must go on there, so it begins with a write that needs none.
local function insist()
  call('UNLINK', P .. '-')
end

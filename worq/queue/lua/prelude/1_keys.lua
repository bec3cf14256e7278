-- Words, and lists longer than the stack.
-- A task's hash leaves out what has its default value; see `delivery.rst` for the fields.
local PENDING, SCHEDULED, ENQUEUED, PROCESSING, COMPLETED = 'p', 's', 'e', 'a', 'c'
local IGNORE_RESULT, PASS = 1, 2
local META = P .. 'm'
local FIELD = 64     -- bytes: a longer value would make the hash a hashtable, twice the size
local CHUNK = 4000   -- an even number of arguments that fits the stack of Lua
local call = redis.call

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

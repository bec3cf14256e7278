-- The arguments of a task: read, judged without a write, and then bound to it.
local known = {}

-- Pairs of id and nonce, from ARGV; behind the nonce, which may be blank then, the seal.
local function read_arguments(from, to)
  local arguments = {}
  for i = from, to, 2 do
    local nonce, seal = ARGV[i + 1], nil
    if #nonce > NONCE then
      nonce, seal = nonce:sub(1, NONCE), nonce:sub(NONCE + 1)
      nonce = nonce:match('%S') and nonce or ''
    end
    table.insert(arguments, {ARGV[i], nonce, seal})
  end
  return arguments
end

-- What `judge` needs of an argument; of one that is done, or may have to end now, all of it.
local function argument_task(id)
  local s, n, f, z = unpack(call('HMGET', P .. 't:' .. id, 's', 'n', 'f', 'z'))
  if not s or s == COMPLETED or z or purges > 0 then
    return task(id)
  end
  return {s = s, n = n, f = f or nil}
end

-- Counts the open ones in M.u and puts the first failed one into M.failed; or a refusal.
local function judge(M)
  for _, argument in ipairs(M.arguments) do
    local id, nonce = argument[1], argument[2]
    known[id] = known[id] or argument_task(id)
    local A = known[id]
    if not A or (nonce ~= '' and A.n ~= nonce) or ignored(A) or is_gate(A) then
      return {M.id, 'unknown', id}
    elseif A.s ~= COMPLETED then
      M.u = M.u + 1
    else
      local letter = kind(id, A)
      if letter == '' then
        return {M.id, 'unknown', id}
      elseif letter:lower() ~= 'v' and (tonumber(M.f or 0) or 0) % GATE < PASS then
        if not M.failed then
          M.failed, M.seal = id, argument[3]
        end
      end
    end
  end
end

-- What M becomes if an argument has failed.
local function failure(M)
  return inherit(M.n, M.seal or '', M.failed, outcome(M.failed, known[M.failed]))
end

-- The edges of all tasks gather by where they begin: many tasks may have the same argument.
local edges = {}
local function bind(M)
  local names, seals = {}, {}
  for i, argument in ipairs(M.arguments) do
    local id = argument[1]
    names[i] = id
    local from = edges[id]
    if from then
      from[#from + 1] = M.n .. M.id
    else
      edges[id] = {M.n .. M.id}
    end
    if argument[3] then
      seals[#seals + 1], seals[#seals + 2] = id, argument[3]
    end
  end
  push('RPUSH', P .. 'a:' .. M.id, names)
  push('HSET', P .. 's:' .. M.id, seals)
end

local function flush_edges()
  for id, list in pairs(edges) do
    call('HINCRBY', P .. 't:' .. id, 'i', text(#list))
    local f = known[id].f
    if needed_only(f) and not lent(f) then
      call('HSET', P .. 't:' .. id, 'f', text(f + LENT))
    end
    if known[id].s ~= COMPLETED then
      push('RPUSH', P .. 'd:' .. id, list)
    else
      persist(P .. 't:' .. id)
      persist(P .. 'r:' .. id)
    end
  end
end

-- The gate of this id while it is held.
local function held_gate(id)
  local G = task(id)
  return G and G.s == PROCESSING and is_gate(G) and G
end

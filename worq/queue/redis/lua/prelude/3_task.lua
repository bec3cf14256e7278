-- A task as a table of its fields, what it left, and where it goes. The fields of its hash, each
-- there only where it says something:
--   s  state, one letter             n  nonce of this life         f  flags
--   h  header, or c: its length, if it begins the key b:           b  body, if it is short
--   p  priority   t  ms that the outcome is kept   l  ms of its lease   m  deliveries at most
--   z  when it expires   v  when it is due, while it is pending    g  purges that it came after
--   a  how many arguments   u  how many are open, the gate among them   G  the gate
--   e  deliveries ever, the token's number   d  those that count, where that differs
--   o  pool that has it or settled it   q  when that took it   j  progress   y  memo of a retry
--   x  what its tail call waits for, or did    S  the seal of that
--   C  when it was put   R  when it became ready, if that was not then   A  attempts that were retried
--   E  when it was completed   B  what its outcome told of that, see `Outcome.age`
--   L  when it was put aside, or - once it has waited there in vain
--   i  pins   k  something that is not pinned waits for it, or MADE
--   w  the first client that waits    r  outcome, if it is short
--   D  deliveries that were lost, see `mourn`   K  the number of its failure, see `preserve`
--   of what is completed, lives (see `relative`):
--   Y  its arguments   X  what its tail call waited for   W  what waited for it
local purges = math.max(tonumber(meta[3] or 0) or 0, 0)
-- Others may have written anything where we read a number. What is none, or is more than a call can
-- ask for, counts as what is usual; so nothing fails halfway, for all tasks that are in the step.

local attempt = redis.pcall

-- Adds to a number in a hash, and answers with it; nil if others have written something else there.
local function add(key, field, by)
  local answer = attempt('HINCRBY', key, field, by)
  if type(answer) ~= 'table' then
    return answer
  elseif not (answer.err:find('integer') or answer.err:find('overflow')) then
    error(answer.err)
  end
end

local function read(id)
  local flat = attempt('HGETALL', P .. 't:' .. id)
  if #flat == 0 then
    if flat.err and flat.err:find('WRONGTYPE', 1, true) then
      call('UNLINK', P .. 't:' .. id)   -- it is none of ours
    elseif flat.err then
      error(flat.err)
    end
    return nil
  elseif #flat > RECORD then   -- no put has written that: what is not ours goes, and so does the task
    local ours, alien, known = {}, {}, 'snfhcbptlmzvgauGedoqjyxikwrCRAEBSLDKWXY'
    for i = 1, #flat, 2 do
      local name = flat[i]
      if #name == 1 and known:find(name, 1, true) then
        ours[#ours + 1], ours[#ours + 2] = name, flat[i + 1]
      else
        alien[#alien + 1] = name
      end
    end
    push('HDEL', P .. 't:' .. id, alien)
    flat = ours
    flat[#flat + 1], flat[#flat + 2] = 'damaged', call('HGET', P .. 't:' .. id, 'g') or '0'
    flat[#flat + 1], flat[#flat + 2] = 'g', '-1'   -- ends when it is met, see `meet`
  end
  -- Room for what most tasks have until they end: a table that grows is made anew at 1, 2, 4 and 8.
  local T = {s = nil, n = nil, h = nil, b = nil, e = nil, o = nil, q = nil, w = nil, f = nil, C = nil, B = nil}
  for i = 1, #flat, 2 do
    T[flat[i]] = flat[i + 1]
  end
  return T
end

local function purged(T)
  return T.s ~= COMPLETED and T.s ~= PROCESSING and (tonumber(T.g or 0) or 0) < purges
end

-- A field is written only once there was a purge, and only if it is not there yet.
local function generation(T)
  if purges > 0 then
    return 'g', purges
  end
end

local function ignored(T)
  return (tonumber(T.f or 0) or 0) % 2 == IGNORE_RESULT
end

local function is_gate(T)
  return T.f and (tonumber(T.f) or 0) % NEEDED >= GATE
end

local function needed_only(f)
  return f and (tonumber(f) or 0) % LENT >= NEEDED
end

local function lent(f)
  return (tonumber(f) or 0) % (2 * LENT) >= LENT
end

local function deliveries(T)
  return tonumber(T.d or T.e or 0) or 0
end

-- A field that is a span in ms; nil if it is not there, or makes no sense.
local function sensible(field)
  local ms = tonumber(field)
  return ms and ms >= 0 and ms <= REACH and ms or nil
end

local function header(id, T)
  return T.h or call('GETRANGE', P .. 'b:' .. id, 0, text((tonumber(T.c) or 1) - 1))
end

local function outcome(id, T)
  return T.r or call('GET', P .. 'r:' .. id)
end

local function kind(id, T)
  local at = NONCE
  return T.r and T.r:sub(at + 1, at + 1) or call('GETRANGE', P .. 'r:' .. id, at, at)
end

-- How a completed task ended: the kind of its outcome, in upper case; COMPLETED if that is damaged.
local function ending(id, T)
  local r = T.r or call('HGET', P .. 't:' .. id, 'r')
  return kind(id, {r = r or nil}):upper():match('^[VFXC]$') or COMPLETED
end

-- An outcome that the queue makes itself.
local function verdict(id, T, letter, text)
  return T.n .. letter .. header(id, T):match('^[^\n]*') .. '\n' .. text
end

-- The outcome of a completed task: '' if it is long, false if there is none.
local function short_outcome(id, T)
  if not T or T.s ~= COMPLETED then
    return false
  elseif T.r then
    return T.r
  end
  local size = call('STRLEN', P .. 'r:' .. id)
  return size > SMALL and '' or size > 0 and call('GET', P .. 'r:' .. id)
end

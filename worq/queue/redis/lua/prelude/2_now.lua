-- The queue's clock, by which all moments are stored: the server's, but one that is set back finds
-- it go on from the last tick. `skew` is by how much it is ahead of the server's since then. So
-- nothing that is stored has to be moved. More than SPAN is damage, and no clock.
local meta = call('HMGET', KEYS[1], 'tick', 'calm', 'purges', 'more', 'skew', 'version', 'names')
-- Whether programs of a newer revision use the queue. What is no number is damage, and as good as
-- none: the next put or join writes it. Of another schema nothing is read or written at all.
local newer = false
if meta[6] and meta[6] ~= STAMP then
  local schema, revision = meta[6]:match('^(%d+)%.?(%d*)$')
  if not schema or #meta[6] > 12 then
    meta[6] = false
  elseif tonumber(schema) ~= SCHEMA then
    return redis.error_reply('OTHERSCHEMA ' .. schema .. ' ' .. SCHEMA)
  else
    newer = (tonumber(revision) or 0) > REVISION
  end
end
if meta[3] and #meta[3] > 16 or meta[5] and #meta[5] > 16 then
  insist()   -- no number is as long, and what is very long would hold up each verb
  call('HDEL', KEYS[1], 'purges', 'skew')
  meta[3], meta[5] = false, false
end
local skew = meta[5] and tonumber(meta[5]) or 0
if skew ~= 0 and not (skew > 0 and skew <= SPAN and skew % 1 == 0) then
  skew = 0   -- others have written it
end
local now = server + skew
do
  local behind = (tonumber(meta[1]) or now) - now
  if behind > TICK and behind <= SPAN then
    skew, now = skew + behind, now + behind
    insist()
    call('HSET', KEYS[1], 'skew', skew)
  end
end

-- A clock that a test moves: the key `clock`.
local server = tonumber(call('GET', P .. 'clock') or 1)

-- The server's clock in ms.
local time = call('TIME')
local server = time[1] * 1000 + math.floor(time[2] / 1000)

-- beat(P; pool, lease: int, {id, token, progress}, ...) -> {{id, token, word}, ...}
-- (no change) The leases of these deliveries are renewed; those not in force are named.
insist()
local gone = beat(pool, lease, rest, #ARGV)
tick()
conclude()
return gone

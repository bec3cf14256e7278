-- leave(P; pool) -> 'ok'
-- (no change) The pool is forgotten; what it still has is reaped by the lease.
call('ZREM', P .. 'pools', pool)
drop(P .. 'pool:' .. pool)
return 'ok'

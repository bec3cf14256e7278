-- leave(P; pool) -> 'ok'
-- (no change) The pool is forgotten; what it still has is reaped by the lease.
forget_pool(pool)
return 'ok'

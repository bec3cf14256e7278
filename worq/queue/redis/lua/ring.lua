-- ring(P; client) -> 'ok'
-- (no change) An empty entry ends a wait.
call('RPUSH', P .. 'in:' .. client, '')
expire(now + INBOX_TTL * 1000, P .. 'in:' .. client)
return 'ok'

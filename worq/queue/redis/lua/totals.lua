-- totals(P;) -> {now, stats, ages, {name, cell, ...}, {letter and name, number, ...}}
-- (no change) How the queue stands, and what has been counted ever; not all of that is entered yet.
return {now, all_stats(), all_ages(), call('HGETALL', P .. 'tot'), call('HGETALL', P .. 'ended')}

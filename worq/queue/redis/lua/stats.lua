-- stats(P;) -> {name, number, ...}
-- (no change)
return all_stats()

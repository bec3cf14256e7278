-- oldest(P;) -> {ms or -1, ...}, by priority
-- (no change)
return all_ages()

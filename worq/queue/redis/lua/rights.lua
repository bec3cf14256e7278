-- rights(P;) -> {command, ...}
-- (no change) The commands of all scripts that this user may not run, see rights.first.lua.
return {}

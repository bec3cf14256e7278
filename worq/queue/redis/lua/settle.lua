-- settle(P; pool, {id, token, word, data}, ...) -> {index, word, ...}
-- processing -> completed | scheduled | pending | enqueued
insist()
local words = settle(pool, rest, (#ARGV - rest + 1) / 4)
conclude()
return words

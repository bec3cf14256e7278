-- settle(P; pool, {id, token, word, data, age}, ...) -> {index, word, ...}
-- processing -> completed | scheduled | pending | enqueued
insist()
local words = settle(pool, rest, (#ARGV - rest + 1) / 5)
conclude()
return words

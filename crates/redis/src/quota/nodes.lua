-- Notes that a node is there, and tells how many are.
--
-- KEYS: the nodes, by when they were heard of last. ARGV: what the answer is to begin
-- with, the node, and for how many milliseconds it is known.
--
-- Returns the number with its checksum before it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
redis.call('ZADD', KEYS[1], text(now), ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - ARGV[3]))
-- Of a clock that was set back since.
redis.call('ZREMRANGEBYSCORE', KEYS[1], text(now + ARGV[3]), '+inf')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local all = ARGV[1] .. ' ' .. redis.call('ZCARD', KEYS[1])
return redis.sha1hex(all) .. all

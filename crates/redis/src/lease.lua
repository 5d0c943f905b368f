-- Gives the right to fetch a resource to who asks, unless another has it.
--
-- KEYS: the lease. ARGV: who asks, for how many milliseconds it is given, and for
-- how many it is known after that.
--
-- Returns the fence, or `taken`, with its checksum before it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'fence', 'node', 'until')
local fence, lasts = tonumber(known[1] or 0), tonumber(ARGV[2])
local told = 'taken'
local is_held = known[3] and tonumber(known[3]) > now
if not is_held or known[2] == ARGV[1] then
  if not is_held then
    -- By the clock, so that it is larger than those that are no longer known.
    fence = math.max(fence + 1, time[1] * 1000000 + time[2])
  end
  told = string.format('%.0f', fence)
  local ends = string.format('%.0f', now + lasts)
  redis.call('HSET', KEYS[1], 'fence', told, 'node', ARGV[1], 'until', ends)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', lasts + ARGV[3]))
end
return redis.sha1hex(told) .. told

-- Changes the records of a resource, all of them or none.
--
-- KEYS: its hash, and its lease. ARGV: the field of who writes, the number of this
-- write, for how many milliseconds that is to be known (0 for not at all), the most
-- variants, the length of a pointer; and what is to be done, one after the other:
-- `put`, a variant, a value, how long to keep it in milliseconds, and a fence or
-- nothing; `remove` and a variant; `all`, which is to go; or `release` and a fence.
--
-- Returns the pointers to chunks that are of no use any more.
local key, lease, writer, number = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local known, most, pointer = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local gone = {}

-- A write that was given up may come late, after others that knew of that.
local latest = redis.call('HGET', key, writer)
if latest and tonumber(latest) > number then
  return redis.error_reply('LATE a later write was here before')
end

local function remove(field)
  if redis.call('HSTRLEN', key, field) == pointer then
    gone[#gone + 1] = redis.call('HGET', key, field)
  end
  redis.call('HDEL', key, field)
end

local function make_room()
  local fields = redis.call('HKEYS', key)
  for _, field in ipairs(fields) do
    if #fields >= most and #field == 16 then return remove(field) end
  end
end

-- Whether another has got the lease since.
local function is_overtaken(fence)
  return fence ~= '' and tonumber(redis.call('HGET', lease, 'fence') or 0) > tonumber(fence)
end

local keep = redis.call('PTTL', key)
local at = 6
while ARGV[at] do
  local what, field = ARGV[at], ARGV[at + 1]
  if what == 'put' then
    local value = ARGV[at + 2]
    if not is_overtaken(ARGV[at + 4]) then
      remove(field)
      make_room()
      redis.call('HSET', key, field, value)
      keep = math.max(keep, tonumber(ARGV[at + 3]))
    elseif #value == pointer then
      gone[#gone + 1] = value
    end
    at = at + 5
  elseif what == 'remove' then
    remove(field)
    at = at + 2
  elseif what == 'release' then
    if redis.call('HGET', lease, 'fence') == field then
      redis.call('HSET', lease, 'until', 0)
    end
    at = at + 2
  else
    for _, each in ipairs(redis.call('HKEYS', key)) do remove(each) end
    keep = 0
    at = at + 1
  end
end
if known > 0 then
  redis.call('HSET', key, writer, number)
  keep = math.max(keep, known)
end
redis.call('PEXPIRE', key, string.format('%.0f', keep))
return gone

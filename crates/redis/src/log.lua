-- Tells what is in the log: two streams, of notes and of changes.
--
-- KEYS: the stream of notes, that of changes, the generation. ARGV: what this
-- answer is to begin with, how many entries of each stream are to be told, from
-- where of each (nothing for none), and a generation for where none is noted; with
-- that the streams begin that are not there, each with an entry that says so, since
-- what was in them before is not known.
--
-- Returns one string, with its own checksum before it.
local told = {}
local function tell(text)
  text = tostring(text)
  told[#told + 1] = #text .. ':' .. text
end

tell(ARGV[1])
if ARGV[5] then redis.call('SET', KEYS[3], ARGV[5], 'NX') end
tell(redis.call('GET', KEYS[3]) or '')
for at = 1, 2 do
  if ARGV[5] and redis.call('EXISTS', KEYS[at]) == 0 then
    redis.call('XADD', KEYS[at], '*', 'begin', '')
  end
  local first = redis.call('XRANGE', KEYS[at], '-', '+', 'COUNT', 1)[1]
  local last = redis.call('XREVRANGE', KEYS[at], '+', '-', 'COUNT', 1)[1]
  tell(first and first[1] or '')
  tell(last and last[1] or '')
  local from, entries = ARGV[2 + at], {}
  if from ~= '' then
    entries = redis.call('XRANGE', KEYS[at], from, '+', 'COUNT', ARGV[2])
  end
  tell(#entries)
  for _, entry in ipairs(entries) do
    tell(entry[1])
    tell(#entry[2])
    for _, field in ipairs(entry[2]) do tell(field) end
  end
end
local all = table.concat(told)
return redis.sha1hex(all) .. all

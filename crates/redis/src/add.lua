-- Adds an entry to a stream, which begins with one that says so: what was there
-- before is not known, as after a loss of data.
--
-- KEYS: the stream. ARGV: how many entries are kept, and the fields of this one.
--
-- Returns its id, with the checksum of that before it.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[1], '*', 'begin', '')
end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 2))
return redis.sha1hex(id) .. id

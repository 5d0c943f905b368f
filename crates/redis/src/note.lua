-- Adds a note to the stream, which begins with an entry that says so: what was
-- noted before is not known, as after a loss of data.
--
-- KEYS: the stream. ARGV: how many entries are kept, and the note, if there is one.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[1], '*', 'begin', '')
end
if ARGV[2] then
  return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'note', ARGV[2])
end

-- Settles what a key has used of quotas, and takes permits of them, by the clock of
-- Redis: of each as many as there are, or of all what is asked for or of none anything.
--
-- KEYS: what is used of each quota. ARGV: what the answer is to begin with; `all` or
-- `some`; and for each quota the units of a permit and of a microsecond, up to how
-- many units may be taken and charged, and how many permits are given back, charged
-- and asked for.
--
-- A state is a time in microseconds, the units that were used by then, and those of a
-- permit and of a microsecond. All are integers below 2^53, which Lua has exactly.
--
-- Returns, with its checksum before it, the permits taken and the units used of each.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local quotas, lacks = {}, false
for at, key in ipairs(KEYS) do
  local from = 7 * at - 5
  local function number(place) return tonumber(ARGV[from + place]) end
  local unit, scale, reach, full = number(1), number(2), number(3), number(4)
  local used, is_new = 0, true
  local state = redis.call('GET', key) or ''
  local before, level, units, pace = string.match(state, '^(%d+) (%d+) (%d+) (%d+)$')
  if before then
    -- A clock that was set back takes nothing from anybody, but is noted.
    is_new = tonumber(before) > now
    used = math.max(level - math.max(now - before, 0) * pace, 0)
    if tonumber(units) ~= unit then
      used = math.min(math.ceil(used / units * unit), math.max(reach, full))
    end
  end
  local charged = math.max(used - number(5) * unit, 0)
  charged = math.max(math.min(charged + number(6) * unit, full), charged)
  local ask = number(7)
  local granted = math.max(math.min(math.floor((reach - charged) / unit), ask), 0)
  lacks = lacks or granted < ask
  quotas[at] = {
    unit = unit, scale = scale, used = charged, granted = granted,
    is_changed = is_new or charged ~= used,
  }
end
local told = { ARGV[1] }
for at, quota in ipairs(quotas) do
  if lacks and ARGV[2] == 'all' then quota.granted = 0 end
  local used = quota.used + quota.granted * quota.unit
  if used == 0 then
    redis.call('DEL', KEYS[at])
  elseif quota.is_changed or quota.granted > 0 then
    local state = string.format('%.0f %.0f %.0f %.0f', now, used, quota.unit, quota.scale)
    -- When all is back there is nothing to know.
    local lasts = string.format('%.0f', math.ceil(used / quota.scale / 1000) + 1)
    redis.call('SET', KEYS[at], state, 'PX', lasts)
  end
  told[#told + 1] = string.format('%.0f %.0f', quota.granted, used)
end
local all = table.concat(told, ' ')
return redis.sha1hex(all) .. all

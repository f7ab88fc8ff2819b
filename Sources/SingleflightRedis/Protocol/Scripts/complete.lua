-- KEYS lease wait done last. ARGV token status payload reuse channels events. An event tells a value's kind only, and a
-- failure itself if it is short. `reuse` is for how many milliseconds the outcome is kept for reuse; 0 for not at all, and
-- -1 if an earlier one stays, too.
local token, status, reuse = ARGV[1], ARGV[2], tonumber(ARGV[4])
local lease, foreign = read_lease()
if foreign then return foreign end
if not lease or lease.token ~= token then
  local kept = redis.call('GET', KEYS[3])
  local current = lease and lease.token or ''
  if kept then
    local decided = string.sub(kept, 1, 1)
    if decided == 'v' or decided == 'e' then return {'DUP'} end
    return {'STALE', current, canceled(kept)}
  end
  if reuse > 0 and string.sub(redis.call('GET', KEYS[4]) or '', 1, 32) == token then return {'DUP'} end
  return {'UNKNOWN', current}
end
local waiters = redis.call('HLEN', KEYS[2])
-- Nobody is given an older result than this one.
if reuse > 0 then
  redis.call('SET', KEYS[4], token .. status .. ARGV[3], 'PX', reuse)
elseif reuse == 0 then
  redis.call('DEL', KEYS[4])
end
if waiters > 0 then
  decide(ARGV[5], KEYS[3], lease, status, ARGV[3], lease.retention)
else
  redis.call('DEL', KEYS[1])
end
event(ARGV[6], status, lease, waiters, status == 'e' and #ARGV[3] <= 8192 and ARGV[3])
return {'OK', waiters}

-- KEYS lease wait done last. ARGV token status payload retention reuse channels events. An event tells a value's kind
-- only, and a failure itself if it is short.
local token, status = ARGV[1], ARGV[2]
local retention, reuse = tonumber(ARGV[4]), tonumber(ARGV[5])
local lease = read_lease()
if not lease or lease.token ~= token then
  local kept = redis.call('GET', KEYS[3] .. token)
  local current = lease and lease.token or ''
  if not kept then return {'UNKNOWN', current} end
  local decided = string.sub(kept, 1, 1)
  if decided == 'c' or decided == 's' then return {'STALE', current, canceled(kept)} end
  return {'DUP'}
end
local waiters = redis.call('SCARD', KEYS[2])
-- Nobody is given an older result than this one.
if waiters > 0 or reuse > 0 then
  if reuse > 0 then redis.call('SET', KEYS[4], token, 'PX', reuse) else redis.call('DEL', KEYS[4]) end
  decide(ARGV[6], token, status, ARGV[3], math.max(retention, reuse))
else
  redis.call('DEL', KEYS[1], KEYS[4])
end
event(ARGV[7], status, lease, waiters, status == 'e' and #ARGV[3] <= 8192 and ARGV[3])
return {'OK', waiters}

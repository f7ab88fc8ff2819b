-- KEYS lease wait. ARGV inbox channels events.
local removed = redis.call('SREM', KEYS[2], ARGV[1])
local waiters = redis.call('SCARD', KEYS[2])
local lease = removed > 0 and read_lease()
if lease then
  if waiters == 0 then tell(ARGV[2], {lease.inbox}, lease.token, 'u', nil) end
  event(ARGV[3], 'q', lease, waiters, ARGV[1])
end
return {'OK', waiters}

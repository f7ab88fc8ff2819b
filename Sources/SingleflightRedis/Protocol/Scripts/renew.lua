-- KEYS lease wait done. ARGV token record lease+grace news-or-empty channels events. News are told only as long as they
-- fit for all waiters together: a hint without the news would make each waiter poll.
local lease = read_lease()
if not lease or lease.token ~= ARGV[1] then return {'LOST', canceled(redis.call('GET', KEYS[3] .. ARGV[1]))} end
if left(lease) <= 0 then return {'EXPIRED'} end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local waiters = redis.call('SCARD', KEYS[2])
if waiters > 0 then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
lease.record = ARGV[2]
if waiters > 0 and ARGV[4] ~= '' and #ARGV[4] * waiters <= 262144 then
  tell(ARGV[5], redis.call('SMEMBERS', KEYS[2]), lease.token, 'p', ARGV[4])
end
event(ARGV[6], 'r', lease, waiters)
return {'OK', waiters}

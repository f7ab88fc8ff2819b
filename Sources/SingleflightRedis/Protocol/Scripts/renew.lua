-- KEYS lease wait done. ARGV token record probe news-or-empty channels events. What belongs to the flight and not to
-- the leader stays: its retention, its takeovers, what it waits for, and the mark. News go to the waiters as long as
-- they fit for all of them: a hint would make each of them poll.
local lease, foreign = read_lease()
if foreign then return foreign end
if not lease or lease.token ~= ARGV[1] then return {'LOST', canceled(redis.call('GET', KEYS[3]))} end
if left(lease) <= 0 then return {'EXPIRED'} end
local life = string.sub(ARGV[2], 65, 72) + string.sub(ARGV[2], 73, 80)
local record = string.sub(ARGV[2], 1, 80) .. string.sub(lease.record, 81, lease.note - 1) .. string.sub(ARGV[2], 99)
lease.record = keep_mark(record, lease.record)
redis.call('SET', KEYS[1], lease.record, 'PX', life)
local waiters = redis.call('HLEN', KEYS[2])
if waiters > 0 then redis.call('PEXPIRE', KEYS[2], life) end
if waiters > 0 and ARGV[3] == '1' then
  local _, live = awaited(ARGV[5], lease.token)
  waiters = live
end
if waiters > 0 and ARGV[4] ~= '' and #ARGV[4] * waiters <= 262144 then
  tell(ARGV[5], redis.call('HKEYS', KEYS[2]), lease.token, 'p', ARGV[4])
end
event(ARGV[6], 'r', lease, waiters)
return {'OK', waiters}

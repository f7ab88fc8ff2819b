-- KEYS lease wait done fence. ARGV token seen: the greatest fence of the partition that the sender knows of, for a
-- server that has lost its counter and whose clock went back. Decimal strings only: a Lua number of this size loses
-- digits in `tostring`.
local lease = read_lease()
if not lease or lease.token ~= ARGV[1] or left(lease) <= 0 then return {'LOST'} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', KEYS[4]) or '0')
local seen = tonumber(ARGV[2] or '0')
local fence = string.format('%.0f', math.max(last + 1, seen + 1, now))
redis.call('SET', KEYS[4], fence, 'PX', 604800000)
return {'OK', fence}

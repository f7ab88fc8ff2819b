-- KEYS lease fence. ARGV token seen: the greatest fence of the partition that the sender knows of, for a server that
-- has lost its counter and whose clock went back. Decimal strings only: a Lua number of this size loses digits in
-- `tostring`. From 2^53 on it cannot count any further.
local lease, foreign = read_lease()
if foreign then return foreign end
if not lease or lease.token ~= ARGV[1] or left(lease) <= 0 then return {'LOST'} end
local counter = redis.pcall('GET', KEYS[2]) or '0'
local last = type(counter) == 'string' and not string.find(counter, '%D') and #counter <= 16 and tonumber(counter)
if not last then return {'FOREIGN', 'fence'} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local fence = math.max(last + 1, tonumber(ARGV[2]) + 1, now)
if fence >= 9007199254740992 then return {'FOREIGN', 'fence'} end
fence = string.format('%.0f', fence)
redis.call('SET', KEYS[2], fence, 'PX', 604800000)
return {'OK', fence}

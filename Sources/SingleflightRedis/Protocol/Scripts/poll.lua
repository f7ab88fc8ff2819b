-- KEYS lease wait done. ARGV token inbox end channels events. With `end` the asker has nothing to run, and has left
-- others the time to: a flight that could be taken over ends as well.
local token, inbox = ARGV[1], ARGV[2]
local kept = redis.call('GET', KEYS[3])
if kept then return {'DONE', string.sub(kept, 1, 1), string.sub(kept, 2)} end
local lease, foreign = read_lease()
if foreign then return foreign end
if not lease or lease.token ~= token then return {'GONE'} end
local remaining = left(lease)
if remaining > 0 then
  if register(ARGV[4], inbox, lease) then event(ARGV[5], 'j', lease, redis.call('HLEN', KEYS[2]), inbox) end
  return {'RUN', remaining}
end
if ARGV[3] ~= '1' and lease.attempt < lease.permitted then return {'EXPIRED'} end
local told = decide(ARGV[4], KEYS[3], lease, 'c', lapse(lease), lease.retention)
event(ARGV[5], 'c', lease, told, lapse(lease))
return {'DONE', 'c', lapse(lease)}

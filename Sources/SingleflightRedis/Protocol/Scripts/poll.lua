-- KEYS lease wait done. ARGV token inbox policy attempts retention channels events.
local token = ARGV[1]
local kept = redis.call('GET', KEYS[3] .. token)
if kept then return {'DONE', string.sub(kept, 1, 1), string.sub(kept, 2)} end
local lease = read_lease()
if not lease or lease.token ~= token then return {'GONE'} end
local remaining = left(lease)
if remaining > 0 then
  if register(ARGV[2]) then event(ARGV[7], 'j', lease, redis.call('SCARD', KEYS[2]), ARGV[2]) end
  return {'RUN', remaining}
end
if ARGV[3] == 't' and lease.attempt < tonumber(ARGV[4]) then return {'EXPIRED'} end
local told = decide(ARGV[6], token, 'c', lapse(lease), ARGV[5])
event(ARGV[7], 'c', lease, told, lapse(lease))
return {'DONE', 'c', lapse(lease)}

-- KEYS lease wait done. ARGV token mode retention channels events.
local lease = read_lease()
if not lease or lease.token ~= ARGV[1] then return {'LOST'} end
local waiters = redis.call('SMEMBERS', KEYS[2])
if #waiters == 0 then
  redis.call('DEL', KEYS[1])
  event(ARGV[5], 'l', lease, 0)
elseif ARGV[2] == 'u' then
  return {'WAITED', #waiters}
elseif ARGV[2] == 'h' then
  redis.call('PEXPIRE', KEYS[1], lease.grace)
  tell(ARGV[4], waiters, lease.token, 'h', nil)
  event(ARGV[5], 'l', lease, #waiters)
else
  local reason = ARGV[2] == 'g' and 'left' or 'shutdown'
  decide(ARGV[4], lease.token, 'c', reason, ARGV[3])
  event(ARGV[5], 'c', lease, #waiters, reason)
end
return {'OK', #waiters}

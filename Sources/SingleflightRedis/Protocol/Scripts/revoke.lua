-- KEYS lease wait [done]. ARGV token-or-empty reason channels events. Without a token it only says which flight there
-- is, or removes what is no lease.
local lease, foreign = read_lease()
if foreign then
  if ARGV[1] == '' then redis.call('DEL', KEYS[1], KEYS[2]) end
  return foreign
end
if not lease or (ARGV[1] ~= '' and ARGV[1] ~= lease.token) then return {'NOOP'} end
if ARGV[1] == '' then return {'LEADS', lease.token} end
local told = decide(ARGV[3], KEYS[3], lease, 'c', ARGV[2], lease.retention, lease.inbox)
event(ARGV[4], 'c', lease, told - 1, ARGV[2])
return {'OK', lease.token, told - 1}

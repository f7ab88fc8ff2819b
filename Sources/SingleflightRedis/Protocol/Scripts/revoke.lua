-- KEYS lease wait done. ARGV token-or-empty payload retention channels events.
local lease = read_lease()
if not lease or (ARGV[1] ~= '' and ARGV[1] ~= lease.token) then return {'NOOP'} end
local told = decide(ARGV[4], lease.token, 'c', ARGV[2], ARGV[3], lease.inbox)
event(ARGV[5], 'c', lease, told - 1, ARGV[2])
return {'OK', lease.token, told - 1}

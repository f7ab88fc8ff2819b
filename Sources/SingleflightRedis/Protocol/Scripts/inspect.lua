-- KEYS lease wait. Reads only, so a replica may answer it.
local lease, foreign = read_lease()
if foreign then return foreign end
return {lease and lease.record or '', redis.call('PTTL', KEYS[1]), redis.call('HKEYS', KEYS[2])}

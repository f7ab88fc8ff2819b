-- KEYS lease wait. ARGV token inbox channels events.
local lease, foreign = read_lease()
if foreign then return foreign end
return {'OK', strike(ARGV[3], ARGV[4], lease, ARGV[2], 1, ARGV[1])}

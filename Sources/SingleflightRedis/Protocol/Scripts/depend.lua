-- KEYS lease. ARGV token awaited: `<P>:<group>:<key>`, a space, the token of its flight, a line feed. Notes that the
-- flight waits for another one. The latest eight are kept: of the others no circle is found.
local lease, foreign = read_lease()
if foreign then return foreign end
local life = redis.call('PTTL', KEYS[1])
if not lease or lease.token ~= ARGV[1] or life < 1 then return {'LOST'} end
local kept = {}
for awaited in string.gmatch(string.sub(lease.record, 99, lease.note - 1), '[^\n]+\n') do
  if awaited ~= ARGV[2] then table.insert(kept, awaited) end
end
table.insert(kept, ARGV[2])
while #kept > 8 do table.remove(kept, 1) end
local awaits = table.concat(kept)
local record = string.sub(lease.record, 1, 94) .. string.format('%04d', #awaits) .. awaits
  .. string.sub(lease.record, lease.note)
redis.call('SET', KEYS[1], record, 'PX', life)
return {'OK'}

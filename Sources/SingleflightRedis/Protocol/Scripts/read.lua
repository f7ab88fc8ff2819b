-- KEYS chunks. ARGV from most life. The chunks behind `from` others: `most` bytes, or one chunk. They are kept for `life` ms
-- at least. The number that is asked for at a time grows while they are short.
local from, most, life, step = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), 1
local stored = redis.call('LLEN', KEYS[1])
local answer, bytes = {'OK', stored}, 0
if stored > 0 and redis.call('PTTL', KEYS[1]) < life then redis.call('PEXPIRE', KEYS[1], life) end
while from < stored do
  for _, chunk in ipairs(redis.call('LRANGE', KEYS[1], from, from + step - 1)) do
    bytes = bytes + #chunk
    if bytes > most and #answer > 2 then return answer end
    table.insert(answer, chunk)
    from = from + 1
  end
  if bytes * 5 > most * 4 then return answer end
  step = math.min(64, step * 2, math.max(1, math.floor((most - bytes) * (#answer - 2) / (bytes + 1))))
end
return answer

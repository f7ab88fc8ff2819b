local chunks, from, most, life = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = redis.call('LLEN', chunks)
if stored > 0 and redis.call('PTTL', chunks) < life then redis.call('PEXPIRE', chunks, life) end
local answer, bytes, count = {'OK', decimal(stored)}, 0, 1
-- By twos, fours, …: chunks that do not fit are fetched for nothing, but those that fit cost few commands.
while from < stored do
    for _, chunk in ipairs(redis.call('LRANGE', chunks, from, from + count - 1)) do
        bytes = bytes + #chunk
        if bytes > most and #answer > 2 then return answer end
        answer[#answer + 1] = chunk
    end
    if bytes >= most then return answer end
    from, count = from + count, math.min(2 * count, 64)
end
return answer

local token, index, chunk, life = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
prefix = ARGV[5]
local r, problem = read()
if problem then return problem end
if not r or r.token ~= token then return lost() end
local chunks, waiters = KEYS[4], redis.call('HKEYS', wait)
local stored = redis.call('LLEN', chunks)
local again = chunk ~= '' and stored == index + 1
if stored ~= index and not again then return {'BROKEN', decimal(stored)} end
local fresh = chunk ~= '' and not again
if fresh then redis.call('RPUSH', chunks, chunk) end
redis.call('PEXPIRE', chunks, life)
if fresh then
    local along = #chunk <= 65000 and #chunk * #waiters <= 200000
    tell(waiters, 'd', token, decimal(index) .. '\n' .. (along and chunk or ''))
end
return {'OK', decimal(#waiters)}

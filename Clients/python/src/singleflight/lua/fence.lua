local token, known, counter = ARGV[1], tonumber(ARGV[2]), KEYS[2]
local r, problem = read()
if problem then return problem end
if not r or r.token ~= token or left(r) <= 0 then return {'LOST'} end
local drawn = redis.pcall('GET', counter)
if type(drawn) == 'table' then return string.find(drawn.err, 'WRONGTYPE', 1, true) and {'FOREIGN', 'fence'} or drawn end
drawn = drawn or '0'
local limit = 9007199254740991
if not string.find(drawn, '^%d+$') or #drawn > 16 or tonumber(drawn) >= limit then return {'FOREIGN', 'fence'} end
local time = redis.call('TIME')
local fence = math.max(tonumber(drawn) + 1, known + 1, time[1] * 1000000 + time[2])
redis.call('SET', counter, decimal(fence), 'PX', 604800000)
return {'OK', decimal(fence)}

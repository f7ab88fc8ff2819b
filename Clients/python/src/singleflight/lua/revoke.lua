local token, reason = ARGV[1], ARGV[2]
prefix, channel = ARGV[3], ARGV[4] or ''
local r, problem = read()
if problem then
    if token == '' and problem[1] == 'FOREIGN' then redis.call('DEL', lease, wait) end
    return problem
end
if not r then return {'NOOP'} end
if token == '' then return {'LEADS', r.token} end
if r.token ~= token then return {'NOOP'} end
local waiters = decide(r, done, 'c', reason)
tell({r.inbox}, 'c', token, reason)
step('c', r, waiters, reason)
return {'OK', token, decimal(waiters)}

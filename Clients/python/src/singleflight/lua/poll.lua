local token, inbox, ending = ARGV[1], ARGV[2], ARGV[3]
prefix, channel = ARGV[4], ARGV[5] or ''
local outcome = redis.call('GET', done)
if outcome then return {'DONE', string.sub(outcome, 1, 1), string.sub(outcome, 2)} end
local r, problem = read()
if problem then return problem end
if not r or r.token ~= token then return {'GONE'} end
local rest = left(r)
if rest > 0 then
    if register(r, inbox, '') then step('j', r, redis.call('HLEN', wait), inbox) end
    return {'RUN', decimal(rest)}
end
if r.takeovers < r.permitted and ending == '0' then return {'EXPIRED'} end
local reason = r.takeovers > 0 and 'exhausted' or 'expired'
step('c', r, decide(r, done, 'c', reason), reason)
return {'DONE', 'c', reason}

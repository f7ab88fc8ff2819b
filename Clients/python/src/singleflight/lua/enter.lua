local token, mine, inbox, wanted, latest, lapsed = ARGV[1], parse(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local stays = ARGV[7] == '1'
prefix, channel = ARGV[8], ARGV[9] or ''
local time = now()
local function answer(...)
    local words = {...}
    if latest > 0 then words[#words + 1] = decimal(time) end
    return words
end

if latest > 0 and time > latest then return answer('LATE') end
local r, problem = read()
if problem then return problem end
if r and r.token == token then return answer('LEAD', decimal(r.takeovers)) end
local outcome = redis.call('GET', done)
if outcome and string.sub(outcome, 1, 1) ~= 's' then return {'DONE', token, string.sub(outcome, 1, 1), string.sub(outcome, 2)} end

if wanted > 0 then
    local kept = redis.call('PTTL', KEYS[4])
    if kept >= wanted then
        local last, led = redis.call('GET', KEYS[4]), r and left(r) > 0
        return {'DONE', string.sub(last, 1, 32), string.sub(last, 33, 33), string.sub(last, 34), decimal(kept), led and '1' or '0'}
    end
end
if r then
    local rest = left(r)
    if rest > 0 then
        if register(r, inbox, token) then step('j', r, redis.call('HLEN', wait), inbox) end
        return answer('FOLLOW', r.token, decimal(rest))
    end
    if lapsed ~= r.token then return answer('EXPIRED', r.token) end
    if r.takeovers < r.permitted then
        mine.retention, mine.permitted, mine.takeovers = r.retention, r.permitted, r.takeovers + 1
        redis.call('SET', KEYS[5], 's' .. token, 'PX', r.retention + mine.lease + mine.grace)
        inherit(mine, r)
        write(mine, mine.lease + mine.grace)
        if not stays then redis.call('HDEL', wait, inbox) end
        redis.call('PEXPIRE', wait, mine.lease + mine.grace)
        step('t', mine, redis.call('HLEN', wait), r.token)
        return answer('LEAD', decimal(mine.takeovers))
    end
    local reason = r.takeovers > 0 and 'exhausted' or 'expired'
    step('c', r, decide(r, KEYS[5], 'c', reason), reason)
end
write(mine, mine.lease + mine.grace)
if not stays then redis.call('HDEL', wait, inbox) end
step('a', mine, 0)
return answer('LEAD', '0')

local token, letter, payload, reuse = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
prefix, channel = ARGV[5], ARGV[6] or ''
local r, problem = read()
if problem then return problem end
if not r or r.token ~= token then
    local outcome = redis.call('GET', done)
    local current = r and r.token or ''
    if not outcome then
        local kept = reuse > 0 and redis.call('GET', KEYS[4])
        return kept and string.sub(kept, 1, 32) == token and {'DUP'} or {'UNKNOWN', current}
    end
    local stored = string.sub(outcome, 1, 1)
    if stored == 'v' or stored == 'e' then return {'DUP'} end
    if stored == 'c' then return {'STALE', current, string.sub(outcome, 2)} end
    return {'STALE', current}
end
if reuse > 0 then
    redis.call('SET', KEYS[4], token .. letter .. payload, 'PX', reuse)
elseif reuse == 0 then
    redis.call('DEL', KEYS[4])
end
local waiters = redis.call('HLEN', wait)
if waiters > 0 then
    decide(r, done, letter, payload)
else
    redis.call('DEL', lease, wait)
end
step(letter, r, waiters, letter == 'e' and #payload <= 8192 and payload or '')
return {'OK', decimal(waiters)}

local token, mode, inbox = ARGV[1], ARGV[2], ARGV[3]
prefix, channel = ARGV[4], ARGV[5] or ''
local r, problem = read()
if problem then return problem end
if not r or r.token ~= token then
    local registered = mode == 'w' and r and inbox ~= '' and redis.call('HGET', wait, inbox)
    if registered and string.sub(registered, 33) == token then unregister(r, inbox) end
    return {'LOST'}
end
local waiters = redis.call('HLEN', wait)
if waiters == 0 then
    redis.call('DEL', lease)
elseif mode == 'u' then
    strike(some(), token)
    waiters = redis.call('HLEN', wait)
    if waiters > 0 then return {'WAITED', decimal(waiters)} end
    decide(r, done, 'w', '')
elseif mode == 'w' and r.takeovers == 0 then
    decide(r, done, 'w', '')
elseif mode == 'w' or mode == 'h' or r.permitted > 0 then
    -- It expires now. A takeover that is taken back has not been one.
    local back = mode == 'w' and 1 or 0
    r.takeovers = r.takeovers - back
    write(r, r.grace)
    r.takeovers = r.takeovers + back
    tell(redis.call('HKEYS', wait), 'h', token)
else
    local reason = mode == 's' and 'shutdown' or 'left'
    decide(r, done, 'c', reason)
    step('c', r, waiters, reason)
    return {'OK', decimal(waiters)}
end
step('l', r, waiters)
return {'OK', decimal(waiters)}

local token, mine, abandoned, news = ARGV[1], parse(ARGV[2]), ARGV[3], ARGV[4]
prefix, channel = ARGV[5], ARGV[6] or ''
local r, problem = read()
if problem then return problem end
if not r or r.token ~= token then return lost() end
if left(r) <= 0 then return {'EXPIRED'} end
if abandoned == '1' then strike(some(), token) end
mine.retention, mine.permitted, mine.takeovers, mine.waits = r.retention, r.permitted, r.takeovers, r.waits
inherit(mine, r)
write(mine, mine.lease + mine.grace)
redis.call('PEXPIRE', wait, mine.lease + mine.grace)
local inboxes = redis.call('HKEYS', wait)
if news ~= '' then tell(inboxes, 'p', token, news) end
step('r', mine, #inboxes)
return {'OK', decimal(#inboxes)}

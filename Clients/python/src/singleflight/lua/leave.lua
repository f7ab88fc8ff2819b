local token, inbox = ARGV[1], ARGV[2]
prefix, channel = ARGV[3], ARGV[4] or ''
local r, problem = read()
if problem then return problem end
local registered = redis.call('HGET', wait, inbox)
if registered and string.sub(registered, 1, 32) == token then return {'OK', decimal(unregister(r, inbox))} end
return {'OK', decimal(redis.call('HLEN', wait))}

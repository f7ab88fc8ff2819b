-- KEYS lease wait done last. ARGV token record inbox lease grace policy attempts retention reuse notAfter channels
-- events. With a notAfter, the answers but DONE end with the server's time, so that the next one can be right.
local token, record, inbox = ARGV[1], ARGV[2], ARGV[3]
local duration, grace, retention = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[8])
local now
if ARGV[10] ~= '0' then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
  if now > tonumber(ARGV[10]) then return {'LATE', now} end
end
local attempt = 0
local lease = read_lease()
if lease and lease.token == token then return {'LEAD', lease.attempt, now} end
local own = redis.call('GET', KEYS[3] .. token)
if own and string.sub(own, 1, 1) ~= 's' then
  return {'DONE', token, string.sub(own, 1, 1), string.sub(own, 2)}
end
if lease then
  local remaining = left(lease)
  if remaining > 0 then
    if register(inbox) then event(ARGV[12], 'j', lease, redis.call('SCARD', KEYS[2]), inbox) end
    return {'FOLLOW', lease.token, remaining, now}
  end
  if ARGV[6] == 't' and lease.attempt < tonumber(ARGV[7]) then
    attempt = lease.attempt + 1
    redis.call('SET', KEYS[3] .. lease.token, 's' .. token, 'PX', duration + grace + retention)
    redis.call('PEXPIRE', KEYS[2], duration + grace)
  else
    local told = decide(ARGV[11], lease.token, 'c', lapse(lease), retention)
    event(ARGV[12], 'c', lease, told, lapse(lease))
  end
elseif ARGV[9] == '1' then
  local last = redis.call('GET', KEYS[4])
  local kept = last and redis.call('GET', KEYS[3] .. last)
  if kept then return {'DONE', last, string.sub(kept, 1, 1), string.sub(kept, 2)} end
end
record = string.sub(record, 1, 80) .. string.format('%03d', attempt) .. string.sub(record, 84)
redis.call('SREM', KEYS[2], inbox)
redis.call('SET', KEYS[1], record, 'PX', duration + grace)
local led = {token = token, attempt = attempt, record = record}
if attempt > 0 then
  event(ARGV[12], 't', led, redis.call('SCARD', KEYS[2]), lease.token)
else
  event(ARGV[12], 'a', led, 0)
end
return {'LEAD', attempt, now}

-- KEYS lease wait done last [lapsed]. ARGV token record inbox reuse notAfter lapsed stays channels events. The second
-- `done` is that of an expired lease, whose token an answer before named. With `stays` another flight of the process
-- waits for the key: it stays among the waiters that a takeover keeps. With a notAfter, the answers but DONE end with
-- the server's time, so that the next one can be right. `reuse` is how many milliseconds of an earlier outcome's life
-- must be left so that it is wanted; 0 for not at all.
local token, record, inbox = ARGV[1], ARGV[2], ARGV[3]
local life = string.sub(record, 65, 72) + string.sub(record, 73, 80)
local now
if ARGV[5] ~= '0' then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
  if now > tonumber(ARGV[5]) then return {'LATE', now} end
end
local lease, foreign = read_lease()
if foreign then return foreign end
if lease and lease.token == token then return {'LEAD', lease.attempt, now} end
local own = redis.call('GET', KEYS[3])
if own and string.sub(own, 1, 1) ~= 's' then
  return {'DONE', token, string.sub(own, 1, 1), string.sub(own, 2)}
end
local wanted = tonumber(ARGV[4])
if wanted > 0 then
  local life_left = redis.call('PTTL', KEYS[4])
  if life_left >= wanted then
    local last = redis.call('GET', KEYS[4])
    return {'DONE', string.sub(last, 1, 32), string.sub(last, 33, 33), string.sub(last, 34), life_left,
      lease and left(lease) > 0 and 1 or 0}
  end
end
local attempt = 0
if lease then
  local remaining = left(lease)
  if remaining > 0 then
    if register(ARGV[8], inbox, lease, token) then
      event(ARGV[9], 'j', lease, redis.call('HLEN', KEYS[2]), inbox)
    end
    return {'FOLLOW', lease.token, remaining, now}
  end
  if ARGV[6] ~= lease.token then return {'EXPIRED', lease.token, now} end
  if lease.attempt < lease.permitted then
    attempt = lease.attempt + 1
    redis.call('SET', KEYS[5], 's' .. token, 'PX', life + lease.retention)
    redis.call('PEXPIRE', KEYS[2], life)
    record = string.sub(record, 1, 80) .. string.sub(lease.record, 81, 91) .. string.format('%03d', attempt)
      .. string.sub(record, 95)
    record = keep_mark(record, lease.record)
  else
    local told = decide(ARGV[8], KEYS[5], lease, 'c', lapse(lease), lease.retention)
    event(ARGV[9], 'c', lease, told, lapse(lease))
  end
end
if ARGV[7] ~= '1' then redis.call('HDEL', KEYS[2], inbox) end
redis.call('SET', KEYS[1], record, 'PX', life)
local led = {token = token, attempt = attempt, record = record, note = 99}
if attempt > 0 then
  event(ARGV[9], 't', led, redis.call('HLEN', KEYS[2]), lease.token)
else
  event(ARGV[9], 'a', led, 0)
end
return {'LEAD', attempt, now}

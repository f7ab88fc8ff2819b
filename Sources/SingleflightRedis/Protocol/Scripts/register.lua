-- `register(…)`: puts a process on the waiters' list, which lives as long as the lease's key, and marks the lease's
-- record. Whether it is new there. `by` is the token of the request to lead that does it, if one does. Where the list
-- is full, some of it are looked at: the dead make room.
local function register(channels, inbox, lease, by)
  if redis.call('HLEN', KEYS[2]) >= 4096 then
    for _, other in ipairs(redis.pcall('HRANDFIELD', KEYS[2], 16)) do
      if not heard(channels, other, lease.token) then redis.call('HDEL', KEYS[2], other) end
    end
  end
  local life, marked = redis.call('PTTL', KEYS[1]), mark(lease.record)
  if marked ~= lease.record then redis.call('SET', KEYS[1], marked, 'PX', life) end
  local added = 0
  if redis.call('HLEN', KEYS[2]) < 4096 or redis.call('HGET', KEYS[2], inbox) then
    added = redis.call('HSET', KEYS[2], inbox, lease.token .. (by or ''))
  end
  redis.call('PEXPIRE', KEYS[2], life)
  return added > 0
end

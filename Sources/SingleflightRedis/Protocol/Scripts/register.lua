-- `register(inbox)`: puts a process on the waiters' list, which lives as long as the lease's key. Returns whether it is
-- new there.
local function register(inbox)
  local added = 0
  if redis.call('SCARD', KEYS[2]) < 4096 then added = redis.call('SADD', KEYS[2], inbox) end
  redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
  return added > 0
end

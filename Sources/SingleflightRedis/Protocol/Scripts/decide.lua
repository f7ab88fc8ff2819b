-- `decide(…)`: the only place where an outcome comes about. Stored first, then the flight's other keys go, then it is
-- announced: a user who may not store must not lose the flight by trying.
local function decide(channels, token, status, payload, retention, leader)
  local waiters = redis.call('SMEMBERS', KEYS[2])
  redis.call('SET', KEYS[3] .. token, status .. payload, 'PX', retention)
  redis.call('DEL', KEYS[1], KEYS[2])
  if leader then table.insert(waiters, leader) end
  tell(channels, waiters, token, status, payload)
  return #waiters
end

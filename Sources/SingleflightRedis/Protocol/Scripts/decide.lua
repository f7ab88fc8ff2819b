-- `decide(…)`: the only place where an outcome comes about, under the key that is named for it. Stored first, then the
-- flight's other keys go, then it is announced: a user who may not store must not lose the flight by trying. A value
-- that is no list of waiters goes with them.
local function decide(channels, key, lease, status, payload, retention, leader)
  local waiters = redis.pcall('HKEYS', KEYS[2])
  if waiters.err then waiters = {} end
  redis.call('SET', key, status .. payload, 'PX', retention)
  redis.call('DEL', KEYS[1], KEYS[2])
  if leader then table.insert(waiters, leader) end
  tell(channels, waiters, lease.token, status, status ~= 'w' and payload or nil)
  return #waiters
end

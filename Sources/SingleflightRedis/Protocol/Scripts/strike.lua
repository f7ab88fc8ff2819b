-- `strike(…)`: takes a process off the waiters' list if its registration has this token at this place: of the flight
-- that it waits for, or of the request that registered it. The number that is left.
local function strike(channels, events, lease, inbox, from, token)
  local registration = redis.call('HGET', KEYS[2], inbox)
  local is_meant = registration and string.sub(registration, from, from + 31) == token
  if is_meant then redis.call('HDEL', KEYS[2], inbox) end
  local waiters = redis.call('HLEN', KEYS[2])
  if is_meant and lease then
    if waiters == 0 then tell(channels, {lease.inbox}, lease.token, 'u', nil) end
    event(events, 'q', lease, waiters, inbox)
  end
  return waiters
end

-- `awaited(…)`: strikes the waiters that nobody listens for any more, up to the first that somebody does, and no more
-- than 512 at a time; how many were struck, and how many are left.
local function awaited(channels, token)
  local struck = 0
  for _, inbox in ipairs(redis.call('HKEYS', KEYS[2])) do
    if struck == 512 or heard(channels, inbox, token) then break end
    struck = struck + redis.call('HDEL', KEYS[2], inbox)
  end
  return struck, redis.call('HLEN', KEYS[2])
end

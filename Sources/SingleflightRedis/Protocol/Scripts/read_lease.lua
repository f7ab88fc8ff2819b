-- Reads a lease record: its token, and the fields that scripts need. The layout is ``LeaseRecord``'s.
local function read_lease()
  local record = redis.call('GET', KEYS[1])
  if not record then return nil end
  return {
    record = record,
    token = string.sub(record, 1, 32),
    inbox = string.sub(record, 33, 64),
    duration = tonumber(string.sub(record, 65, 72)),
    grace = tonumber(string.sub(record, 73, 80)),
    attempt = tonumber(string.sub(record, 81, 83)),
  }
end

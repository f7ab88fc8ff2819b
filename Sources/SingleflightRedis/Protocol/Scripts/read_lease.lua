-- `read_lease()`: the lease, or nil where there is none, and as a second value what to answer where the key holds
-- something else. The layout is ``LeaseRecord``'s.
local function read_lease()
  local record = redis.pcall('GET', KEYS[1])
  if not record then return nil end
  -- What is no value of another type fails again, in the words that the server has for it outside of `pcall`.
  if type(record) == 'table' and not string.find(record.err, '^WRONGTYPE') then redis.call('GET', KEYS[1]) end
  if type(record) ~= 'string' or #record < 98 or string.find(string.sub(record, 1, 64), '[^0-9a-f]')
    or string.find(string.sub(record, 65, 98), '%D') then return nil, {'FOREIGN', 'lease'} end
  return {
    record = record,
    token = string.sub(record, 1, 32),
    inbox = string.sub(record, 33, 64),
    duration = tonumber(string.sub(record, 65, 72)),
    grace = math.max(1, tonumber(string.sub(record, 73, 80))),
    retention = math.max(1, tonumber(string.sub(record, 81, 88))),
    permitted = tonumber(string.sub(record, 89, 91)),
    attempt = tonumber(string.sub(record, 92, 94)),
    note = 99 + tonumber(string.sub(record, 95, 98)),
  }
end

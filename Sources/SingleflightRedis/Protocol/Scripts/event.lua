-- `event(channel, kind, lease, waiters, detail)`: tells people who watch. Nothing at all without a channel, which is
-- the script's last argument.
local function event(channel, kind, lease, waiters, detail)
  if not channel or channel == '' then return end
  local time = redis.pcall('TIME')
  if not time[1] then return end
  local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  local head = table.concat({'2' .. kind .. lease.token, at, lease.attempt, waiters, name()}, ' ')
  publish(channel, head .. '\n' .. string.sub(lease.record, lease.note) .. '\n' .. (detail or ''))
end

-- `tell(channels, inboxes, token, status, payload)`: announces to each inbox. A payload goes along if it is small
-- enough for all of them together.
local function tell(channels, inboxes, token, status, payload)
  local flag, body = 'h', ''
  if payload and #payload <= 65536 and #payload * #inboxes <= 262144 then flag, body = 'i', payload end
  local message = '2' .. status .. flag .. token .. name() .. '\n' .. body
  for _, inbox in ipairs(inboxes) do publish(channels .. inbox, message) end
end

-- `heard(…)`: whether somebody listens to an inbox. Where this user may not publish nobody can tell: then somebody
-- does.
local function heard(channels, inbox, token)
  return publish(channels .. inbox, '2nh' .. token .. name() .. '\n') ~= 0
end

-- `name()`: what announcements and events call the key: what follows `lease:` in the name of the lease's key.
local function name()
  local _, brace = string.find(KEYS[1], '}', 1, true)
  return string.sub(KEYS[1], brace + 8)
end

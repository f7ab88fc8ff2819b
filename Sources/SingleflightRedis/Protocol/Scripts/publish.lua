-- `publish(channel, message)`: tells all who listen; how many do. A channel that begins with a slot's tag in braces, as
-- on a cluster, is a shard channel: its messages stay on the nodes of that slot.
local function publish(channel, message)
  return redis.pcall(string.byte(channel, 5) == 123 and 'SPUBLISH' or 'PUBLISH', channel, message)
end

-- `left(lease)`: the milliseconds until the lease expires. The key outlives the lease by the grace.
--
-- Redis counts by the wall clock. Where that went back, a key has longer to live than it was ever given, and so would
-- the lease of a leader that has died: what is too much is taken off.
local function left(lease)
  local life, most = redis.call('PTTL', KEYS[1]), lease.duration + lease.grace
  if life > most then
    redis.call('PEXPIRE', KEYS[1], most)
    life = most
  end
  return life - lease.grace
end

-- KEYS lease wait done. ARGV token mode inbox-or-empty channels events. Mode `w` takes back a request to lead, whatever
-- became of it: also the registration that it made.
local token, mode, inbox = ARGV[1], ARGV[2], ARGV[3]
local lease, foreign = read_lease()
if foreign then return foreign end
if not lease or lease.token ~= token then
  if mode == 'w' and lease and inbox ~= '' then
    strike(ARGV[4], ARGV[5], lease, inbox, 33, token)
  end
  return {'LOST'}
end
local struck = 0
if mode == 'u' then struck = awaited(ARGV[4], token) end
local waiters = redis.call('HKEYS', KEYS[2])
if mode == 'u' and #waiters > 0 then return {'WAITED', #waiters} end
if #waiters == 0 and struck == 0 then
  redis.call('DEL', KEYS[1])
  event(ARGV[5], 'l', lease, 0)
elseif mode == 'u' or mode == 'w' and lease.attempt == 0 then
  decide(ARGV[4], KEYS[3], lease, 'w', '', lease.retention)
  event(ARGV[5], 'l', lease, #waiters)
elseif mode == 'h' or mode == 'w' or lease.permitted > 0 then
  local attempt = mode == 'w' and lease.attempt - 1 or lease.attempt
  local record = string.sub(lease.record, 1, 91) .. string.format('%03d', attempt) .. string.sub(lease.record, 95)
  redis.call('SET', KEYS[1], record, 'PX', lease.grace)
  tell(ARGV[4], waiters, token, 'h', nil)
  event(ARGV[5], 'l', lease, #waiters)
else
  local reason = mode == 'g' and 'left' or 'shutdown'
  decide(ARGV[4], KEYS[3], lease, 'c', reason, lease.retention)
  event(ARGV[5], 'c', lease, #waiters, reason)
end
return {'OK', #waiters}

-- KEYS lease wait done chunks. ARGV token index chunk-or-empty life channels. Stores the chunk that follows `index` others,
-- or none, and keeps all of them for `life` ms.
local token, index, chunk = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local lease, foreign = read_lease()
if foreign then return foreign end
if not lease or lease.token ~= token then return {'LOST', canceled(redis.call('GET', KEYS[3]))} end
local stored = redis.call('LLEN', KEYS[4])
local waiters = redis.call('HKEYS', KEYS[2])
if stored ~= index and (chunk == '' or stored ~= index + 1) then return {'BROKEN', stored} end
local isNew = chunk ~= '' and stored == index
if isNew then redis.call('RPUSH', KEYS[4], chunk) end
redis.call('PEXPIRE', KEYS[4], ARGV[4])
if isNew and #waiters > 0 then
  local news = ARGV[2] .. '\n'
  if #chunk * #waiters <= 200000 and #chunk <= 65000 then news = news .. chunk end
  tell(ARGV[5], waiters, token, 'd', news)
end
return {'OK', #waiters}

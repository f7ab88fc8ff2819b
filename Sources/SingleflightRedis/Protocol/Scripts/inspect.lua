-- KEYS lease wait. Reads only, so a replica may answer it.
local record = redis.call('GET', KEYS[1])
return {record or '', redis.call('PTTL', KEYS[1]), redis.call('SMEMBERS', KEYS[2])}

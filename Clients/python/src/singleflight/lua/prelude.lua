-- In front of every script. KEYS[1] is the lease's key; where there are more, KEYS[2] holds the waiters, KEYS[3] the
-- outcome.
local lease, wait, done = KEYS[1], KEYS[2], KEYS[3]
local name = string.match(lease, '}:lease:(.*)$')
local prefix, channel = '', ''

local function parse(raw)
    local function number(first, last) return tonumber(string.sub(raw, first, last), 10) end
    local length = number(95, 98)
    return {
        raw = raw, token = string.sub(raw, 1, 32), inbox = string.sub(raw, 33, 64), lease = number(65, 72), grace = number(73, 80),
        retention = number(81, 88), permitted = number(89, 91), takeovers = number(92, 94),
        waits = string.sub(raw, 99, 98 + length), note = string.sub(raw, 99 + length)
    }
end

-- The record of the lease; nil if there is none; nil and the script's answer if the key holds something else.
local function read()
    local raw = redis.pcall('GET', lease)
    if type(raw) == 'table' then
        return nil, string.find(raw.err, 'WRONGTYPE', 1, true) and {'FOREIGN', 'lease'} or raw
    end
    if not raw then return nil end
    if #raw < 98 or string.find(string.sub(raw, 1, 64), '[^0-9a-f]') or string.find(string.sub(raw, 65, 98), '[^0-9]') then
        return nil, {'FOREIGN', 'lease'}
    end
    return parse(raw)
end

local function write(r, life)
    redis.call('SET', lease, r.token .. r.inbox .. string.format('%08d%08d%08d%03d%03d%04d', r.lease, r.grace, r.retention,
        r.permitted, r.takeovers, #r.waits) .. r.waits .. r.note, 'PX', life)
end

-- The milliseconds until the lease expires, 0 or less if it has. Cuts a life that is too long.
local function left(r)
    local life = redis.call('PTTL', lease)
    if life < 0 or life > r.lease + r.grace then
        life = r.lease + r.grace
        redis.call('PEXPIRE', lease, life)
    end
    return life - r.grace
end

local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- To a shard channel, whose name begins with a slot's tag, or to an ordinary one. How many hear it.
local function publish(to, message)
    return redis.pcall(string.sub(to, 1, 5) == 'sf2:{' and 'SPUBLISH' or 'PUBLISH', to, message)
end

local function decimal(number) return string.format('%.0f', number) end

local function tell(inboxes, letter, token, payload)
    local along = payload and #payload <= 65536 and #payload * #inboxes <= 262144
    if letter == 'p' and not along then return end
    local message = '2' .. letter .. (along and 'i' or 'h') .. token .. name .. '\n' .. (along and payload or '')
    for _, inbox in ipairs(inboxes) do publish(prefix .. inbox, message) end
end

-- Publishes a step of a flight, for people who watch.
local function step(letter, r, waiters, detail)
    if channel == '' then return end
    publish(channel, '2' .. letter .. r.token .. ' ' .. decimal(now()) .. ' ' .. r.takeovers .. ' ' .. waiters
        .. ' ' .. name .. '\n' .. r.note .. '\n' .. (detail or ''))
end

-- Strikes inboxes that nobody hears, up to the first that somebody does.
local function strike(inboxes, token)
    for _, inbox in ipairs(inboxes) do
        local heard = publish(prefix .. inbox, '2nh' .. token .. name .. '\n')
        if heard ~= 0 then return end
        redis.call('HDEL', wait, inbox)
    end
end

-- The first 512 inboxes: more are not looked at in one go.
local function some()
    local inboxes = redis.call('HKEYS', wait)
    while #inboxes > 512 do table.remove(inboxes) end
    return inboxes
end

-- The note of a lease on which somebody waits, or has waited, ends with a space.
local function mark(note) return string.sub(note, -1) == ' ' and note or note .. ' ' end

-- A lease that takes another one's place is marked if that was.
local function inherit(r, earlier)
    if string.sub(earlier.raw, -1) == ' ' then r.note = mark(r.note) end
end

-- Whether the inbox is new among the waiters. Where there is no room, its process polls.
local function register(r, inbox, by)
    local value, life = r.token .. by, redis.call('PTTL', lease)
    if mark(r.raw) ~= r.raw then redis.call('SET', lease, mark(r.raw), 'PX', life) end
    if redis.call('HLEN', wait) >= 4096 and not redis.call('HGET', wait, inbox) then
        strike(redis.call('HRANDFIELD', wait, 16), string.sub(value, 1, 32))
        if redis.call('HLEN', wait) >= 4096 then return false end
    end
    local added = redis.call('HSET', wait, inbox, value)
    redis.call('PEXPIRE', wait, life)
    return added > 0
end

-- Strikes a registration off; tells the leader if it was the last.
local function unregister(r, inbox)
    redis.call('HDEL', wait, inbox)
    local waiters = redis.call('HLEN', wait)
    if r then
        if waiters == 0 then tell({r.inbox}, 'u', r.token) end
        step('q', r, waiters, inbox)
    end
    return waiters
end

-- What a leader is answered that leads no more: with the reason, if its flight was canceled.
local function lost()
    local outcome = redis.call('GET', done)
    return {'LOST', outcome and string.sub(outcome, 1, 1) == 'c' and string.sub(outcome, 2) or nil}
end

-- The flight ends: stored, deleted, announced. Returns how many waited. A value that is no list of waiters goes as
-- well.
local function decide(r, outcome, letter, payload)
    local inboxes = redis.pcall('HKEYS', wait)
    if inboxes.err then inboxes = {} end
    redis.call('SET', outcome, letter .. payload, 'PX', r.retention)
    redis.call('DEL', lease, wait)
    tell(inboxes, letter, r.token, letter ~= 'w' and payload or nil)
    return #inboxes
end

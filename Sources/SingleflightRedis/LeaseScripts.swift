package import HiredisClient

/// The protocol's scripts: whatever needs more than one command on a flight's keys. docs/protocol.md says what each promises.
///
/// Rules that all of them keep: keys are a flight's `lease`, `wait` and `done` in this order; reads come before writes, PUBLISH comes
/// last and through `pcall`; no key is left without a time to live; all time is the server's. All but `enter` may run
/// while the server is out of memory: they end flights or keep them alive, and free memory sooner or later.
package enum LeaseScripts {
    /// Reads a lease record: its token, and the fields that scripts need. The layout is ``LeaseRecord``'s.
    private static let record = """
        local function read_lease()
          local record = redis.call('GET', KEYS[1])
          if not record then return nil end
          return {
            token = string.sub(record, 1, 32),
            inbox = string.sub(record, 33, 64),
            grace = tonumber(string.sub(record, 73, 80)),
            attempt = tonumber(string.sub(record, 81, 83)),
          }
        end

        """

    /// `left(lease)`: the milliseconds until the lease expires. The key outlives the lease by the grace.
    private static let left = """
        local function left(lease)
          return redis.call('PTTL', KEYS[1]) - lease.grace
        end

        """

    /// `register(inbox)`: puts a process on the waiters' list, which lives as long as the lease's key.
    private static let register = """
        local function register(inbox)
          if redis.call('SCARD', KEYS[2]) < 4096 then redis.call('SADD', KEYS[2], inbox) end
          redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
        end

        """

    /// `tell(inboxes, token, status, payload)`: announces to each inbox. A payload goes along if it is small enough for so many.
    private static let tell = """
        local function tell(channels, inboxes, token, status, payload)
          local _, brace = string.find(KEYS[1], '}', 1, true)
          local name = string.sub(KEYS[1], brace + 8)
          local flag, body = 'h', ''
          if payload and #payload <= 65536 and #payload * #inboxes <= 262144 then flag, body = 'i', payload end
          local message = '1' .. status .. flag .. token .. name .. '\\n' .. body
          for _, inbox in ipairs(inboxes) do redis.pcall('PUBLISH', channels .. inbox, message) end
        end

        """

    /// `decide(…)`: the only place where an outcome comes about. Stored first, then announced.
    private static let decide =
        tell + """
            local function decide(channels, token, status, payload, retention, leader)
              local waiters = redis.call('SMEMBERS', KEYS[2])
              redis.call('SET', KEYS[3] .. token, status .. payload, 'PX', retention)
              redis.call('DEL', KEYS[2])
              if leader then table.insert(waiters, leader) end
              tell(channels, waiters, token, status, payload)
              return #waiters
            end

            """

    /// Why an expired flight ends.
    private static let lapse = """
        local function lapse(lease)
          if lease.attempt > 0 then return 'exhausted' end
          return 'expired'
        end

        """

    private static func script(allowsOutOfMemory: Bool = true, _ parts: String...) -> RedisScript {
        RedisScript((allowsOutOfMemory ? "#!lua flags=allow-oom\n" : "#!lua\n") + parts.joined())
    }

    /// KEYS lease wait done last. ARGV token record inbox lease grace policy attempts retention reuse notAfter channels.
    package static let enter = script(
        allowsOutOfMemory: false,
        record,
        left,
        register,
        decide,
        lapse,
        """
        local token, record, inbox = ARGV[1], ARGV[2], ARGV[3]
        local duration, grace, retention = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[8])
        if ARGV[10] ~= '0' then
          local time = redis.call('TIME')
          if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[10]) then return {'LATE'} end
        end
        local attempt = 0
        local lease = read_lease()
        if lease then
          if lease.token == token then return {'LEAD', lease.attempt} end
          local remaining = left(lease)
          if remaining > 0 then
            register(inbox)
            return {'FOLLOW', lease.token, remaining}
          end
          if ARGV[6] == 't' and lease.attempt < tonumber(ARGV[7]) then
            attempt = lease.attempt + 1
            redis.call('SET', KEYS[3] .. lease.token, 's' .. token, 'PX', duration + grace + retention)
            redis.call('PEXPIRE', KEYS[2], duration + grace)
          else
            decide(ARGV[11], lease.token, 'c', lapse(lease), retention)
          end
        elseif ARGV[9] == '1' then
          local last = redis.call('GET', KEYS[4])
          local kept = last and redis.call('GET', KEYS[3] .. last)
          if kept then return {'DONE', last, string.sub(kept, 1, 1), string.sub(kept, 2)} end
        end
        record = string.sub(record, 1, 80) .. string.format('%03d', attempt) .. string.sub(record, 84)
        redis.call('SREM', KEYS[2], inbox)
        redis.call('SET', KEYS[1], record, 'PX', duration + grace)
        return {'LEAD', attempt}
        """
    )

    /// KEYS lease wait. ARGV token record lease+grace.
    static let renew = script(
        record,
        left,
        """
        local lease = read_lease()
        if not lease or lease.token ~= ARGV[1] then return {'LOST'} end
        if left(lease) <= 0 then return {'EXPIRED'} end
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        local waiters = redis.call('SCARD', KEYS[2])
        if waiters > 0 then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
        return {'OK', waiters}
        """
    )

    /// KEYS lease wait done last. ARGV token status payload retention reuse channels.
    package static let complete = script(
        record,
        decide,
        """
        local token, status = ARGV[1], ARGV[2]
        local retention, reuse = tonumber(ARGV[4]), tonumber(ARGV[5])
        local lease = read_lease()
        if not lease or lease.token ~= token then
          local kept = redis.call('GET', KEYS[3] .. token)
          local current = lease and lease.token or ''
          if not kept then return {'UNKNOWN', current} end
          local decided = string.sub(kept, 1, 1)
          if decided == 'c' or decided == 's' then return {'STALE', current} end
          return {'DUP'}
        end
        local waiters = redis.call('SCARD', KEYS[2])
        redis.call('DEL', KEYS[1])
        if waiters > 0 or reuse > 0 then
          if reuse > 0 then redis.call('SET', KEYS[4], token, 'PX', reuse) end
          decide(ARGV[6], token, status, ARGV[3], math.max(retention, reuse))
        end
        return {'OK', waiters}
        """
    )

    /// KEYS lease wait done. ARGV token mode retention channels.
    static let release = script(
        record,
        decide,
        """
        local lease = read_lease()
        if not lease or lease.token ~= ARGV[1] then return {'LOST'} end
        local waiters = redis.call('SMEMBERS', KEYS[2])
        if #waiters == 0 then
          redis.call('DEL', KEYS[1])
        elseif ARGV[2] == 'u' then
          return {'WAITED', #waiters}
        elseif ARGV[2] == 'h' then
          redis.call('PEXPIRE', KEYS[1], lease.grace)
          tell(ARGV[4], waiters, lease.token, 'h', nil)
        else
          redis.call('DEL', KEYS[1])
          decide(ARGV[4], lease.token, 'c', 'shutdown', ARGV[3])
        end
        return {'OK', #waiters}
        """
    )

    /// KEYS lease wait done. ARGV token inbox policy attempts retention channels.
    static let poll = script(
        record,
        left,
        register,
        decide,
        lapse,
        """
        local token = ARGV[1]
        local kept = redis.call('GET', KEYS[3] .. token)
        if kept then return {'DONE', string.sub(kept, 1, 1), string.sub(kept, 2)} end
        local lease = read_lease()
        if not lease or lease.token ~= token then return {'GONE'} end
        local remaining = left(lease)
        if remaining > 0 then
          register(ARGV[2])
          return {'RUN', remaining}
        end
        if ARGV[3] == 't' and lease.attempt < tonumber(ARGV[4]) then return {'EXPIRED'} end
        redis.call('DEL', KEYS[1])
        decide(ARGV[6], token, 'c', lapse(lease), ARGV[5])
        return {'DONE', 'c', lapse(lease)}
        """
    )

    /// KEYS lease wait. ARGV inbox channels.
    static let leave = script(
        record,
        tell,
        """
        local removed = redis.call('SREM', KEYS[2], ARGV[1])
        local waiters = redis.call('SCARD', KEYS[2])
        if removed > 0 and waiters == 0 then
          local lease = read_lease()
          if lease then tell(ARGV[2], {lease.inbox}, lease.token, 'u', nil) end
        end
        return {'OK', waiters}
        """
    )

    /// KEYS lease wait done fence. ARGV token. Decimal strings only: a Lua number of this size loses digits in `tostring`.
    static let fence = script(
        record,
        left,
        """
        local lease = read_lease()
        if not lease or lease.token ~= ARGV[1] or left(lease) <= 0 then return {'LOST'} end
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local last = tonumber(redis.call('GET', KEYS[4]) or '0')
        local fence = string.format('%.0f', math.max(last + 1, now))
        redis.call('SET', KEYS[4], fence, 'PX', 604800000)
        return {'OK', fence}
        """
    )

    /// KEYS lease wait done. ARGV token-or-empty payload retention channels.
    static let revoke = script(
        record,
        decide,
        """
        local lease = read_lease()
        if not lease or (ARGV[1] ~= '' and ARGV[1] ~= lease.token) then return {'NOOP'} end
        redis.call('DEL', KEYS[1])
        local told = decide(ARGV[4], lease.token, 'c', ARGV[2], ARGV[3], lease.inbox)
        return {'OK', lease.token, told - 1}
        """
    )

    /// KEYS lease wait. Reads only, so a replica may answer it.
    static let inspect = RedisScript(
        """
        #!lua flags=no-writes
        local record = redis.call('GET', KEYS[1])
        return {record or '', redis.call('PTTL', KEYS[1]), redis.call('SMEMBERS', KEYS[2])}
        """
    )
}

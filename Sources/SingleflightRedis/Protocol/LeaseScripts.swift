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
            record = record,
            token = string.sub(record, 1, 32),
            inbox = string.sub(record, 33, 64),
            duration = tonumber(string.sub(record, 65, 72)),
            grace = tonumber(string.sub(record, 73, 80)),
            attempt = tonumber(string.sub(record, 81, 83)),
          }
        end

        """

    /// `left(lease)`: the milliseconds until the lease expires. The key outlives the lease by the grace.
    ///
    /// Redis counts by the wall clock. Where that went back, a key has longer to live than it was ever given, and so would the
    /// lease of a leader that has died: what is too much is taken off.
    private static let left = """
        local function left(lease)
          local life, most = redis.call('PTTL', KEYS[1]), lease.duration + lease.grace
          if life > most then
            redis.call('PEXPIRE', KEYS[1], most)
            life = most
          end
          return life - lease.grace
        end

        """

    /// `register(inbox)`: puts a process on the waiters' list, which lives as long as the lease's key. Whether it is new there.
    private static let register = """
        local function register(inbox)
          local added = 0
          if redis.call('SCARD', KEYS[2]) < 4096 then added = redis.call('SADD', KEYS[2], inbox) end
          redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
          return added > 0
        end

        """

    /// `event(channel, kind, lease, waiters, detail)`: tells whoever watches. Nothing at all without a channel, which is the
    /// script's last argument.
    private static let event = """
        local function event(channel, kind, lease, waiters, detail)
          if not channel or channel == '' then return end
          local time = redis.pcall('TIME')
          if not time[1] then return end
          local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
          local _, brace = string.find(KEYS[1], '}', 1, true)
          local head = table.concat({'1' .. kind .. lease.token, at, lease.attempt, waiters, string.sub(KEYS[1], brace + 8)}, ' ')
          redis.pcall('PUBLISH', channel, head .. '\\n' .. string.sub(lease.record, 84) .. '\\n' .. (detail or ''))
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

    /// `decide(…)`: the only place where an outcome comes about. Stored first, then the flight's other keys go, then it is
    /// announced: a user who may not store must not lose the flight by trying.
    private static let decide =
        tell + """
            local function decide(channels, token, status, payload, retention, leader)
              local waiters = redis.call('SMEMBERS', KEYS[2])
              redis.call('SET', KEYS[3] .. token, status .. payload, 'PX', retention)
              redis.call('DEL', KEYS[1], KEYS[2])
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

    /// `canceled(kept)`: the reason, if a stored outcome is a cancellation, for a leader that comes after it.
    private static let canceled = """
        local function canceled(kept)
          if kept and string.sub(kept, 1, 1) == 'c' then return string.sub(kept, 2) end
        end

        """

    private static func script(allowsOutOfMemory: Bool = true, _ parts: String...) -> RedisScript {
        RedisScript((allowsOutOfMemory ? "#!lua flags=allow-oom\n" : "#!lua\n") + parts.joined())
    }

    /// KEYS lease wait done last. ARGV token record inbox lease grace policy attempts retention reuse notAfter channels
    /// events. With a notAfter, the answers but DONE end with the server's time, so that the next one can be right.
    package static let enter = script(
        allowsOutOfMemory: false,
        record,
        left,
        event,
        register,
        decide,
        lapse,
        """
        local token, record, inbox = ARGV[1], ARGV[2], ARGV[3]
        local duration, grace, retention = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[8])
        local now
        if ARGV[10] ~= '0' then
          local time = redis.call('TIME')
          now = time[1] * 1000 + math.floor(time[2] / 1000)
          if now > tonumber(ARGV[10]) then return {'LATE', now} end
        end
        local attempt = 0
        local lease = read_lease()
        if lease and lease.token == token then return {'LEAD', lease.attempt, now} end
        local own = redis.call('GET', KEYS[3] .. token)
        if own and string.sub(own, 1, 1) ~= 's' then
          return {'DONE', token, string.sub(own, 1, 1), string.sub(own, 2)}
        end
        if lease then
          local remaining = left(lease)
          if remaining > 0 then
            if register(inbox) then event(ARGV[12], 'j', lease, redis.call('SCARD', KEYS[2]), inbox) end
            return {'FOLLOW', lease.token, remaining, now}
          end
          if ARGV[6] == 't' and lease.attempt < tonumber(ARGV[7]) then
            attempt = lease.attempt + 1
            redis.call('SET', KEYS[3] .. lease.token, 's' .. token, 'PX', duration + grace + retention)
            redis.call('PEXPIRE', KEYS[2], duration + grace)
          else
            local told = decide(ARGV[11], lease.token, 'c', lapse(lease), retention)
            event(ARGV[12], 'c', lease, told, lapse(lease))
          end
        elseif ARGV[9] == '1' then
          local last = redis.call('GET', KEYS[4])
          local kept = last and redis.call('GET', KEYS[3] .. last)
          if kept then return {'DONE', last, string.sub(kept, 1, 1), string.sub(kept, 2)} end
        end
        record = string.sub(record, 1, 80) .. string.format('%03d', attempt) .. string.sub(record, 84)
        redis.call('SREM', KEYS[2], inbox)
        redis.call('SET', KEYS[1], record, 'PX', duration + grace)
        local led = {token = token, attempt = attempt, record = record}
        if attempt > 0 then
          event(ARGV[12], 't', led, redis.call('SCARD', KEYS[2]), lease.token)
        else
          event(ARGV[12], 'a', led, 0)
        end
        return {'LEAD', attempt, now}
        """
    )

    /// KEYS lease wait done. ARGV token record lease+grace news-or-empty channels events. News go only to so many as they can go along
    /// with: a hint would make each of the others poll.
    static let renew = script(
        record,
        canceled,
        left,
        event,
        tell,
        """
        local lease = read_lease()
        if not lease or lease.token ~= ARGV[1] then return {'LOST', canceled(redis.call('GET', KEYS[3] .. ARGV[1]))} end
        if left(lease) <= 0 then return {'EXPIRED'} end
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        local waiters = redis.call('SCARD', KEYS[2])
        if waiters > 0 then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
        lease.record = ARGV[2]
        if waiters > 0 and ARGV[4] ~= '' and #ARGV[4] * waiters <= 262144 then
          tell(ARGV[5], redis.call('SMEMBERS', KEYS[2]), lease.token, 'p', ARGV[4])
        end
        event(ARGV[6], 'r', lease, waiters)
        return {'OK', waiters}
        """
    )

    /// KEYS lease wait done last. ARGV token status payload retention reuse channels events. An event tells a value's kind
    /// only, and a failure itself if it is short.
    package static let complete = script(
        record,
        canceled,
        event,
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
          if decided == 'c' or decided == 's' then return {'STALE', current, canceled(kept)} end
          return {'DUP'}
        end
        local waiters = redis.call('SCARD', KEYS[2])
        if waiters > 0 or reuse > 0 then
          if reuse > 0 then redis.call('SET', KEYS[4], token, 'PX', reuse) end
          decide(ARGV[6], token, status, ARGV[3], math.max(retention, reuse))
        else
          redis.call('DEL', KEYS[1])
        end
        event(ARGV[7], status, lease, waiters, status == 'e' and #ARGV[3] <= 8192 and ARGV[3])
        return {'OK', waiters}
        """
    )

    /// KEYS lease wait done. ARGV token mode retention channels events.
    static let release = script(
        record,
        event,
        decide,
        """
        local lease = read_lease()
        if not lease or lease.token ~= ARGV[1] then return {'LOST'} end
        local waiters = redis.call('SMEMBERS', KEYS[2])
        if #waiters == 0 then
          redis.call('DEL', KEYS[1])
          event(ARGV[5], 'l', lease, 0)
        elseif ARGV[2] == 'u' then
          return {'WAITED', #waiters}
        elseif ARGV[2] == 'h' then
          redis.call('PEXPIRE', KEYS[1], lease.grace)
          tell(ARGV[4], waiters, lease.token, 'h', nil)
          event(ARGV[5], 'l', lease, #waiters)
        else
          local reason = ARGV[2] == 'g' and 'left' or 'shutdown'
          decide(ARGV[4], lease.token, 'c', reason, ARGV[3])
          event(ARGV[5], 'c', lease, #waiters, reason)
        end
        return {'OK', #waiters}
        """
    )

    /// KEYS lease wait done. ARGV token inbox policy attempts retention channels events.
    static let poll = script(
        record,
        left,
        event,
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
          if register(ARGV[2]) then event(ARGV[7], 'j', lease, redis.call('SCARD', KEYS[2]), ARGV[2]) end
          return {'RUN', remaining}
        end
        if ARGV[3] == 't' and lease.attempt < tonumber(ARGV[4]) then return {'EXPIRED'} end
        local told = decide(ARGV[6], token, 'c', lapse(lease), ARGV[5])
        event(ARGV[7], 'c', lease, told, lapse(lease))
        return {'DONE', 'c', lapse(lease)}
        """
    )

    /// KEYS lease wait. ARGV inbox channels events.
    static let leave = script(
        record,
        event,
        tell,
        """
        local removed = redis.call('SREM', KEYS[2], ARGV[1])
        local waiters = redis.call('SCARD', KEYS[2])
        local lease = removed > 0 and read_lease()
        if lease then
          if waiters == 0 then tell(ARGV[2], {lease.inbox}, lease.token, 'u', nil) end
          event(ARGV[3], 'q', lease, waiters, ARGV[1])
        end
        return {'OK', waiters}
        """
    )

    /// KEYS lease wait done fence. ARGV token seen: the greatest fence of the partition that the sender knows of, for a server
    /// that has lost its counter and whose clock went back. Decimal strings only: a Lua number of this size loses digits in
    /// `tostring`.
    static let fence = script(
        record,
        left,
        """
        local lease = read_lease()
        if not lease or lease.token ~= ARGV[1] or left(lease) <= 0 then return {'LOST'} end
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local last = tonumber(redis.call('GET', KEYS[4]) or '0')
        local seen = tonumber(ARGV[2] or '0')
        local fence = string.format('%.0f', math.max(last + 1, seen + 1, now))
        redis.call('SET', KEYS[4], fence, 'PX', 604800000)
        return {'OK', fence}
        """
    )

    /// KEYS lease wait done. ARGV token-or-empty payload retention channels events.
    static let revoke = script(
        record,
        event,
        decide,
        """
        local lease = read_lease()
        if not lease or (ARGV[1] ~= '' and ARGV[1] ~= lease.token) then return {'NOOP'} end
        local told = decide(ARGV[4], lease.token, 'c', ARGV[2], ARGV[3], lease.inbox)
        event(ARGV[5], 'c', lease, told - 1, ARGV[2])
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

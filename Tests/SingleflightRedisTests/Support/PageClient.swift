import HiredisClient
import Logging
import PrivateRedis

/// A client that was written from docs/protocol.md alone: it shares nothing with the store but the connection, not the
/// names of keys, nor the scripts, the records or the messages. Only as much as it takes to lead and to follow.
struct PageClient: Sendable {
    enum Entered: Equatable {
        case leads
        case follows(token: String)
    }

    private let client: RedisClient
    private let subscription: ChannelSubscription
    let inbox = PageClient.randomID()
    private let lease: String
    private let wait: String
    private let done: String
    private let name: String
    private let messages: AsyncStream<[UInt8]>

    /// Connects, subscribes to its inbox, calls `body` and disconnects. Keys that stand in names as they are.
    static func with<Result>(
        _ redis: PrivateRedis,
        namespace: String,
        group: String,
        key: String,
        _ body: (PageClient) async throws -> Result
    ) async throws -> Result {
        var configuration = RedisClientConfiguration(url: try RedisURL(redis.url))
        configuration.commandTimeout = .seconds(20)
        let client = RedisClient(configuration: configuration, logger: Logger(label: "page"))
        client.start()
        let page = PageClient(client, namespace: namespace, group: group, key: key)
        page.subscription.start()
        do {
            try await page.subscription.subscribed(within: .seconds(20))
            let result = try await body(page)
            await page.shutDown()
            return result
        } catch {
            await page.shutDown()
            throw error
        }
    }

    private init(_ client: RedisClient, namespace: String, group: String, key: String) {
        // "P = CRC-16/XMODEM(group + ":" + key) mod 256, in decimal."
        var crc = 0
        for byte in "\(group):\(key)".utf8 {
            crc ^= Int(byte) << 8
            for _ in 0..<8 { crc = crc & 0x8000 != 0 ? (crc << 1 ^ 0x1021) & 0xFFFF : crc << 1 & 0xFFFF }
        }
        let tag = "sf2:{\(namespace):\(crc % 256)}"
        name = "\(group):\(key)"
        lease = "\(tag):lease:\(name)"
        wait = "\(tag):wait:\(name)"
        done = "\(tag):done:\(name):"
        let (stream, continuation) = AsyncStream.makeStream(of: [UInt8].self)
        messages = stream
        self.client = client
        subscription = client.makeSubscription(to: "sf2:in:\(namespace):0:\(inbox)") { event in
            if case .message(let bytes) = event { continuation.yield(bytes) }
        }
        channelPrefix = "sf2:in:\(namespace):0:"
    }

    private let channelPrefix: String

    private func shutDown() async {
        await subscription.shutdown()
        await client.shutdown()
    }

    /// "128 random bits in 32 lowercase hexadecimal digits."
    static func randomID() -> String {
        (0..<2).map { _ in
            let digits = String(UInt64.random(in: .min ... .max), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: width - digits.count) + digits
    }

    // MARK: - Leading

    /// *acquire*, and where that is answered nil, *enter* as far as following goes.
    func enter(
        _ token: String,
        lease milliseconds: Int = 30_000,
        grace: Int = 30_000,
        retention: Int = 10_000
    ) async throws -> Entered {
        let note = #"{"label":"page","startedAt":0,"renewals":0}"#
        let terms = Self.padded(milliseconds, 8) + Self.padded(grace, 8) + Self.padded(retention, 8)
        // No takeover is permitted, none has been, and nothing is waited for.
        let record = token + inbox + terms + "000" + "000" + "0000" + note
        let life = RedisArgument.integer(Int64(milliseconds + grace))
        let acquired = try await client.send(
            RedisCommand("SET", .string(lease), .string(record), "NX", "PX", life)
        )
        guard acquired == .null else { return .leads }
        let script = """
            local record = redis.call('GET', KEYS[1])
            if redis.call('PTTL', KEYS[1]) <= tonumber(string.sub(record, 73, 80)) then return '' end
            if string.sub(record, -1) ~= ' ' then
              redis.call('SET', KEYS[1], record .. ' ', 'PX', redis.call('PTTL', KEYS[1]))
            end
            redis.call('HSET', KEYS[2], ARGV[1], string.sub(record, 1, 32) .. ARGV[2])
            redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
            return string.sub(record, 1, 32)
            """
        let reply = try await evaluate(script, [lease, wait], [.string(inbox), .string(token)])
        return .follows(token: reply.string ?? "")
    }

    /// *complete* with a value. The number of processes that were told; `nil` if the lease is not held.
    func complete(_ token: String, json: String) async throws -> Int? {
        let envelope = "SF\u{1}" + "\u{6}json/1" + "\u{4}page" + json
        let script = """
            local record = redis.call('GET', KEYS[1])
            if not record or string.sub(record, 1, 32) ~= ARGV[1] then return -1 end
            local waiters = redis.call('HKEYS', KEYS[2])
            local retention = string.sub(record, 81, 88)
            if #waiters > 0 then redis.call('SET', KEYS[3], 'v' .. ARGV[2], 'PX', tonumber(retention)) end
            redis.call('DEL', KEYS[1], KEYS[2])
            for _, inbox in ipairs(waiters) do
              redis.pcall('PUBLISH', ARGV[3] .. inbox, '2vi' .. ARGV[1] .. ARGV[4] .. '\\n' .. ARGV[2])
            end
            return #waiters
            """
        let reply = try await evaluate(
            script,
            [lease, wait, done + token],
            [.string(token), .string(envelope), .string(channelPrefix), .string(name)]
        )
        return reply.integer.flatMap { $0 < 0 ? nil : Int($0) }
    }

    /// The number of processes that wait.
    func waiters() async throws -> Int {
        Int(try await client.send(RedisCommand("HLEN", .string(wait))).integer ?? 0)
    }

    // MARK: - Following

    /// The JSON of the value that is announced for the token; `nil` for news of any other kind.
    func announced(_ token: String) async -> String? {
        for await message in messages {
            let head = Array("2vi\(token)\(name)\n".utf8)
            guard message.starts(with: head) else { return nil }
            return Self.body(of: message.dropFirst(head.count))
        }
        return nil
    }

    /// *poll*, as far as a stored value goes.
    func stored(_ token: String) async throws -> String? {
        let bytes = try await client.send(RedisCommand("GET", .string(done + token))).bytes
        guard let bytes, bytes.first == UInt8(ascii: "v") else { return nil }
        return Self.body(of: bytes.dropFirst())
    }

    /// "An envelope is `SF`, the byte 1, the codec's identifier and the leader's label (…), and the body."
    private static func body(of envelope: ArraySlice<UInt8>) -> String? {
        guard envelope.starts(with: Array("SF\u{1}\u{6}json/1".utf8)) else { return nil }
        let rest = envelope.dropFirst(10)
        guard let length = rest.first else { return nil }
        return String(decoding: rest.dropFirst(1 + Int(length)), as: UTF8.self)
    }

    private func evaluate(_ script: String, _ keys: [String], _ arguments: [RedisArgument]) async throws -> RESPValue {
        let count = RedisArgument.integer(Int64(keys.count))
        return try await client.send(
            RedisCommand("EVAL", arguments: [.string(script), count] + keys.map { .string($0) } + arguments)
        )
    }
}

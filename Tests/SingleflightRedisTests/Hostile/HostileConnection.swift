import SingleflightLease
import SingleflightRedis

/// What a hostile server does on one connection, as a value: commands come in, bytes go out. All of it follows from the
/// seed.
struct HostileConnection {
    enum Act {
        case send([UInt8])
        /// Without end, for as long as the client reads.
        case repeatForever([UInt8])
        case close
    }

    private var random: FlightRandom
    /// Of a hundred replies, how many are as they should be.
    private let honesty: Int
    /// Whether replies are cut into pieces.
    private let cuts: Bool
    private var isMute = false

    /// - Parameter number: tells the connections of a session apart.
    init(seed: UInt64, number: UInt64) {
        self.random = .seeded(seed ^ (number &* 0xD6E8_FEB8_6659_FD93))
        _ = self.random.next()
        self.honesty = HostileReply.pick([0, 50, 80, 95, 100], &self.random)
        self.cuts = Int.random(in: 0..<4, using: &self.random) == 0
    }

    /// - Parameter tokens: what the client has named flights by so far.
    mutating func acts(on command: [String], tokens: [String]) -> [Act] {
        guard !self.isMute else { return [] }
        let honest = self.honestReply(to: command, tokens: tokens)
        // Many of them open a connection: few would ever be of use.
        if command.first == "SCRIPT" { return self.sending(honest.bytes) }
        guard Int.random(in: 0..<100, using: &self.random) >= self.honesty else { return self.sending(honest.bytes) }
        switch Int.random(in: 0..<40, using: &self.random) {
        case 0..<14: return self.sending(honest.mutated(using: &self.random).bytes)
        case 14..<19: return self.sending(HostileReply.any(using: &self.random).bytes)
        case 19..<22: return self.sending(HostileReply.noise(atMost: 300, using: &self.random))
        case 22..<27: return self.sending(HostileReply.anyError(using: &self.random).bytes)
        case 27..<30: return self.sending(honest.bytes + HostileReply.any(using: &self.random).bytes)
        case 30..<32:
            self.isMute = true
            return []
        case 32..<34: return [.close]
        case 34..<37:
            let whole = honest.bytes
            self.isMute = true
            let part = Array(whole.prefix(Int.random(in: 0..<whole.count, using: &self.random)))
            return [.send(part)] + (Bool.random(using: &self.random) ? [.close] : [])
        case 37: return self.sending(Array(HostileReply.pick(Self.absurdHeaders, &self.random).utf8))
        default:
            self.isMute = true
            let (start, rest) = HostileReply.pick(Self.endless, &self.random)
            return [.send(Array(start.utf8)), .repeatForever(Array(rest.utf8))]
        }
    }

    /// What the inbox is sent although nobody asked, at times.
    mutating func push(to channel: String, tokens: [String]) -> [UInt8]? {
        guard Int.random(in: 0..<3, using: &self.random) == 0 else { return nil }
        let token = tokens.isEmpty ? String(repeating: "0", count: 32) : HostileReply.pick(tokens, &self.random)
        let status = HostileReply.pick(["v", "e", "c", "s", "u", "h", "x"], &self.random)
        let form = HostileReply.pick(["i", "h", "?"], &self.random)
        let payload = self.payload(status)
        let message = Array("1\(status)\(form)\(token)pages:front\n".utf8) + payload
        let push = HostileReply.array([.bulk("message"), .bulk(channel), .bulk(message)])
        return (Int.random(in: 0..<3, using: &self.random) == 0 ? push.mutated(using: &self.random) : push).bytes
    }

    private static let absurdHeaders = [
        "$2147483647\r\n", "$9223372036854775807\r\n", "*2147483647\r\n", "*65536\r\n", "*-2\r\n", "$-7\r\n",
        "*1048576\r\n",
        String(repeating: "*1\r\n", count: 1_000), "*4294967297\r\n", "$00000000000000000001\r\na\r\n", "%2\r\n",
        "\r\n",
        "_\r\n", ">3\r\n", "*65535\r\n" + String(repeating: "*0\r\n", count: 70_000),
    ]

    private static let endless: [(String, String)] = [
        ("+", String(repeating: "a", count: 8_192)), (":", String(repeating: "1", count: 8_192)),
        ("-", String(repeating: "\r", count: 8_192)), ("", String(repeating: ":1\r\n", count: 2_048)),
        ("", String(repeating: "*1\r\n", count: 2_048)), ("", String(repeating: "$-1\r\n", count: 2_048)),
        ("$16777216\r\n", String(repeating: "b", count: 65_536)),
        ("*60000\r\n", String(repeating: "$1\r\na\r\n", count: 2_048)),
        ("*3\r\n$16000000\r\n", String(repeating: "c", count: 65_536)), ("", String(repeating: "\0", count: 4_096)),
    ]

    private mutating func sending(_ bytes: [UInt8]) -> [Act] {
        guard self.cuts, bytes.count > 1, bytes.count < 2_000 else { return [.send(bytes)] }
        var acts: [Act] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = rest.prefix(Int.random(in: 1...8, using: &self.random))
            acts.append(.send(Array(piece)))
            rest = rest.dropFirst(piece.count)
        }
        return acts
    }

    // MARK: - As it should be

    private mutating func honestReply(to command: [String], tokens: [String]) -> HostileReply {
        switch command.first {
        case "ROLE": .array([.bulk("master"), .integer("0"), .array([])])
        case "PING": .simple("PONG")
        case "SUBSCRIBE": .array([.bulk("subscribe"), .bulk(command.last ?? ""), .integer("1")])
        case "SET": Bool.random(using: &self.random) ? .simple("OK") : .nullBulk
        case "EVALSHA", "EVAL": self.scriptReply(tokens)
        case "TIME": .array([.bulk("1700000000"), .bulk("123456")])
        case "SCAN":
            .array([
                .bulk(HostileReply.pick(["0", "7", "18446744073709551615"], &self.random)),
                .array(tokens.prefix(3).map { _ in .bulk("sf2:{test:17}:lease:pages:front") }),
            ])
        case "GET": Bool.random(using: &self.random) ? .nullBulk : .bulk(self.record(tokens))
        case "DELIFEQ", "DELEX": .integer(Bool.random(using: &self.random) ? "1" : "0")
        case "PTTL", "HLEN", "PUBLISH", "DEL": .integer("5000")
        case "INFO": .bulk("# Server\r\nredis_version:7.0.15\r\nmaxmemory:0\r\nused_memory:1\r\nloading:0\r\n")
        case "CONFIG": .array([.bulk(command.last ?? ""), .bulk("noeviction")])
        default: .simple("OK")
        }
    }

    /// An answer that some script could give; the right one now and then.
    private mutating func scriptReply(_ tokens: [String]) -> HostileReply {
        let token = HostileReply.bulk(tokens.isEmpty ? "" : HostileReply.pick(tokens, &self.random))
        let status = HostileReply.pick(["v", "e", "c", "s", "w"], &self.random)
        let replies: [HostileReply] = [
            .array([.bulk("LEAD"), .integer("0")]),
            .array([.bulk("LEAD"), .integer("9223372036854775807")]),
            .array([.bulk("FOLLOW"), token, .integer("1")]),
            .array([.bulk("FOLLOW"), token, .integer("9223372036854775807")]),
            .array([.bulk("DONE"), token, .bulk(status), .bulk(self.payload(status))]),
            .array([.bulk("DONE"), .bulk(status), .bulk(self.payload(status))]),
            .array([.bulk("OK"), .integer("1")]), .array([.bulk("OK"), .bulk("1700000000000000")]),
            .array([.bulk("OK"), token, .integer("-9223372036854775808")]), .array([.bulk("LOST")]),
            .array([.bulk("RUN"), .integer("1")]), .array([.bulk("RUN"), .integer("-9223372036854775808")]),
            .array([.bulk("EXPIRED")]), .array([.bulk("GONE")]), .array([.bulk("STALE"), token]),
            .array([.bulk("STALE"), token, .bulk(self.payload("c"))]),
            .array([.bulk("LOST"), .bulk(self.payload("c"))]),
            .array([.bulk("UNKNOWN"), .bulk("")]), .array([.bulk("WAITED"), .integer("2")]), .array([.bulk("DUP")]),
            .array([.bulk("EXPIRED"), token]), .array([.bulk("LEADS"), token]),
            .array([.bulk("FOREIGN"), .bulk("lease")]), .array([.bulk("FOREIGN")]),
            .array([.bulk(self.record(tokens)), .integer("9223372036854775807"), .array([token, token])]),
        ]
        return HostileReply.pick(replies, &self.random)
    }

    private mutating func payload(_ status: String) -> [UInt8] {
        switch (status, Int.random(in: 0..<4, using: &self.random)) {
        case ("v", 0): return [83, 70, 1, 4] + Array("json".utf8) + [1, 65] + Array("\"text\"".utf8)
        case ("c", 0): return Array("revoked\nby\nreason".utf8)
        case ("s", 0): return Array(String(repeating: "a", count: 32).utf8)
        case (_, 1): return [83, 70, 1, 255, 1]
        default: return HostileReply.noise(atMost: 100, using: &self.random)
        }
    }

    private mutating func record(_ tokens: [String]) -> String {
        let token = tokens.isEmpty ? String(repeating: "0", count: 32) : HostileReply.pick(tokens, &self.random)
        let numbers = HostileReply.pick(
            [
                "0000200000001000000020000010000000", "9999999999999999999999999999999999",
                "-000001-0000001-0000001-01-01-001", "0000200000001000000020000000000034\(token):1 \n",
            ],
            &self.random
        )
        let note = HostileReply.pick(
            [#"{"label":"a","startedAt":-9223372036854775808,"renewals":1}"#, #"{"label":"#, "{}", ""],
            &self.random
        )
        return token + token + numbers + note
    }
}

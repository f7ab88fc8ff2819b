import SingleflightLease

/// A reply as a tree, so that parts of it can be exchanged for others before it is written.
indirect enum HostileReply {
    case simple(String)
    case error(String)
    /// The text behind the colon, which need not be a number.
    case integer(String)
    case bulk([UInt8])
    /// A bulk string whose length is given as another.
    case misdeclared([UInt8], length: String)
    case array([HostileReply])
    case nullBulk
    case nullArray
    case raw([UInt8])

    static func bulk(_ text: String) -> HostileReply { .bulk(Array(text.utf8)) }

    var bytes: [UInt8] {
        switch self {
        case .simple(let text): Array("+\(text)\r\n".utf8)
        case .error(let text): Array("-\(text)\r\n".utf8)
        case .integer(let text): Array(":\(text)\r\n".utf8)
        case .bulk(let bytes): Array("$\(bytes.count)\r\n".utf8) + bytes + Array("\r\n".utf8)
        case .misdeclared(let bytes, let length): Array("$\(length)\r\n".utf8) + bytes + Array("\r\n".utf8)
        case .array(let elements): Array("*\(elements.count)\r\n".utf8) + elements.flatMap(\.bytes)
        case .nullBulk: Array("$-1\r\n".utf8)
        case .nullArray: Array("*-1\r\n".utf8)
        case .raw(let bytes): bytes
        }
    }

    /// Numbers at and beyond the edges of what is read as one.
    private static let numbers = [
        "0", "-0", "1", "-1", "007", "+7", "", " 1", "1e3", "0x10", "4096", "2147483648", "-9223372036854775808",
        "9223372036854775807", "9223372036854775808", "18446744073709551616", "99999999999999999999999999",
    ]

    private static let words = [
        "LEAD", "FOLLOW", "DONE", "LATE", "OK", "LOST", "EXPIRED", "DUP", "STALE", "UNKNOWN", "WAITED", "RUN", "GONE",
        "NOOP", "", "lead", "v", "e", "c", "s",
    ]

    private static let errors = [
        "ERR", "ERR unknown command", "OOM", "NOSCRIPT No matching script", "BUSY Redis is busy", "LOADING", "READONLY",
        "MOVED 1 127.0.0.1:1", "ASK 1 127.0.0.1:1", "TRYAGAIN", "CLUSTERDOWN", "NOAUTH", "NOPERM", "WRONGPASS", "",
        "ERR Error compiling script near '#'", "\u{1B}[2J", String(repeating: "E", count: 60_000),
    ]

    /// Any reply at all.
    static func any(depth: Int = 0, using random: inout FlightRandom) -> HostileReply {
        switch Int.random(in: 0..<(depth < 9 ? 10 : 7), using: &random) {
        case 0: .simple(self.pick(self.words, &random))
        case 1: .error(self.pick(self.errors, &random))
        case 2: .integer(self.pick(self.numbers, &random))
        case 3: .bulk(self.pick(self.words, &random))
        case 4: .bulk(self.noise(atMost: 200, using: &random))
        case 5: .nullBulk
        case 6: .nullArray
        case 7: .misdeclared(self.noise(atMost: 20, using: &random), length: self.pick(self.numbers, &random))
        default:
            .array(
                (0..<Int.random(in: 0..<5, using: &random)).map { _ in self.any(depth: depth + 1, using: &random) }
            )
        }
    }

    /// An error reply that a server could send.
    static func anyError(using random: inout FlightRandom) -> HostileReply {
        .error(self.pick(self.errors, &random))
    }

    /// This reply with one thing changed about it.
    func mutated(using random: inout FlightRandom) -> HostileReply {
        if case .array(var elements) = self, !elements.isEmpty {
            let index = Int.random(in: elements.indices, using: &random)
            switch Int.random(in: 0..<8, using: &random) {
            case 0: elements.remove(at: index)
            case 1: elements.insert(.any(using: &random), at: index)
            case 2: elements.append(elements[index])
            case 3: return .array([self])
            case 4: return elements[index]
            default: elements[index] = elements[index].mutated(using: &random)
            }
            return .array(elements)
        }
        switch (self, Int.random(in: 0..<4, using: &random)) {
        case (.integer, 0...1): return .integer(Self.pick(Self.numbers, &random))
        case (.bulk, 0): return .bulk(Self.pick(Self.numbers, &random))
        case (.bulk(let bytes), 1): return .misdeclared(bytes, length: Self.pick(Self.numbers, &random))
        case (.bulk(var bytes), 2) where !bytes.isEmpty:
            bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            return .bulk(bytes)
        default: return .any(using: &random)
        }
    }

    static func noise(atMost count: Int, using random: inout FlightRandom) -> [UInt8] {
        (0..<Int.random(in: 0...count, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    static func pick<Element>(_ choices: [Element], _ random: inout FlightRandom) -> Element {
        choices[Int.random(in: choices.indices, using: &random)]
    }
}

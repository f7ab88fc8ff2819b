import HiredisClient
import SingleflightLease

/// The names of a flight's keys and channels; docs/protocol.md has the table.
struct Keyspace: Sendable {
    let namespace: String
    /// What an inbox's id is appended to. The database is part of it: pub/sub knows none.
    let inboxPrefix: String
    /// Where events are published, if they are.
    let eventChannel: String
    /// What the names of a flight's keys begin with, by partition.
    private let tags: [String]
    /// Where the keys of a partition lie on a cluster.
    private let slots: [HashSlot]

    /// Longer encoded keys are named by their digest.
    private static let maximumEncodedBytes = 256

    init(namespace: String, database: Int = 0) {
        self.namespace = namespace
        self.inboxPrefix = "sf2:in:\(namespace):\(database):"
        self.eventChannel = "sf2:ev:\(namespace):\(database)"
        self.tags = (0..<Self.partitionCount).map { "sf2:{\(namespace):\($0)}:" }
        self.slots = self.tags.map { HashSlot(of: $0) }
    }

    /// A pattern for the names of a namespace's keys of one kind.
    static func pattern(namespace: String, kind: String, name: String) -> String {
        "sf2:{\(namespace):*}:\(kind):\(name)"
    }

    /// The keys of one flight. All lie in one slot of a cluster, because of the hash tag.
    ///
    /// They are put together where they are written.
    struct Names: Sendable {
        fileprivate var tag: String
        fileprivate var name: String
        /// Whether the key's name is a digest of the key.
        var isDigest: Bool
        /// What the requests about the key have in common.
        var order: RedisOrder
        /// The partition that the key lies in.
        var partition: UInt16

        /// Where the key's names lie, without an order.
        var place: RedisOrder { self.order.slot.map { .none(in: $0) } ?? .none }

        var lease: RedisArgument { .joined(self.tag, "lease:", self.name) }
        var wait: RedisArgument { .joined(self.tag, "wait:", self.name) }
        var last: RedisArgument { .joined(self.tag, "last:", self.name) }
        var runs: RedisArgument { .joined(self.tag, "runs:", self.name) }
        var fence: RedisArgument { .joined(self.tag, "fence", "") }
        /// What an inbox's id is appended to on a cluster.
        var inboxPrefix: RedisArgument { .joined(self.tag, "in:", "") }
        /// Where events are published on a cluster.
        var eventChannel: RedisArgument { .joined(self.tag, "ev", "") }

        /// The key that holds the outcome of one flight.
        func done(_ token: LeaseToken) -> RedisArgument {
            .joined(self.tag, "done:", self.name, Hexadecimal(token))
        }

        /// The key that holds the chunks of one flight's stream.
        func chunks(_ token: LeaseToken) -> RedisArgument {
            .joined(self.tag, "chunks:", self.name, Hexadecimal(token))
        }
    }

    /// How a lease's record names a flight that it waits for: `<P>:<group>:<key>`.
    static func placedName(of key: FlightKey) -> String {
        "\(self.partition(of: key)):\(self.announcedName(of: key))"
    }

    /// The name of the lease's key, and where it lies; `nil` for what is no such name.
    func leaseName(placed name: String) -> (name: RedisArgument, slot: HashSlot)? {
        guard let colon = name.firstIndex(of: ":"), let partition = Int(name[..<colon]),
            self.tags.indices.contains(partition)
        else { return nil }
        let lease = RedisArgument.joined(self.tags[partition], "lease:", String(name[name.index(after: colon)...]))
        return (lease, self.slots[partition])
    }

    func names(of key: FlightKey) -> Names {
        let encoded = Self.encode(key.bytes)
        let checksum = Self.checksum(of: key)
        let partition = Int(checksum) % Self.partitionCount
        return Names(
            tag: self.tags[partition],
            name: Self.name(group: key.group, encodedKey: encoded.text),
            isDigest: encoded.isDigest,
            order: RedisOrder(checksum, in: self.slots[partition]),
            partition: UInt16(partition)
        )
    }

    /// The slot of a partition's keys and channels.
    func slot(of partition: Int) -> HashSlot { self.slots[partition] }

    /// The inbox of a process for one partition, on a cluster.
    func shardInbox(_ inbox: InboxID, of partition: Int) -> String { "\(self.tags[partition])in:\(inbox)" }

    /// Where events of one partition are published on a cluster.
    func shardEventChannel(of partition: Int) -> String { "\(self.tags[partition])ev" }

    /// The name by which announcements call the flight's key: what follows `lease:` in its lease's name.
    static func announcedName(of key: FlightKey) -> String {
        self.name(group: key.group, encodedKey: self.encode(key.bytes).text)
    }

    private static func name(group: String, encodedKey: String) -> String {
        group + ":" + encodedKey
    }

    static let partitionCount = 256

    /// Spreads the keys of a namespace over a cluster's slots.
    static func partition(of key: FlightKey) -> Int {
        Int(self.checksum(of: key)) % Self.partitionCount
    }

    private static func checksum(of key: FlightKey) -> UInt16 {
        var crc: UInt16 = 0
        for byte in key.group.utf8 { crc.addCRC16(byte) }
        crc.addCRC16(UInt8(ascii: ":"))
        for byte in key.bytes { crc.addCRC16(byte) }
        return crc
    }

    /// Printable ASCII stands as it is, but for `%`, `{`, `}` and space; a leading `~` marks a digest and is escaped,
    /// too.
    static func encode(_ bytes: [UInt8]) -> (text: String, isDigest: Bool) {
        if bytes.count <= Self.maximumEncodedBytes, bytes.allSatisfy(Self.standsAsItIs) {
            // Nearly all keys: no second array.
            return (String(decoding: bytes, as: UTF8.self), false)
        }
        var encoded: [UInt8] = []
        encoded.reserveCapacity(bytes.count)
        for (index, byte) in bytes.enumerated() {
            switch byte {
            case UInt8(ascii: "%"), UInt8(ascii: "{"), UInt8(ascii: "}"):
                encoded.append(percent: byte)
            case UInt8(ascii: "~") where index == 0:
                encoded.append(percent: byte)
            case 0x21...0x7E:
                encoded.append(byte)
            default:
                encoded.append(percent: byte)
            }
        }
        guard encoded.count > Self.maximumEncodedBytes else {
            return (String(decoding: encoded, as: UTF8.self), false)
        }
        return ("~" + SHA256.hexadecimalDigest(of: bytes), true)
    }

    private static func standsAsItIs(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "%"), UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: "~"): false
        case 0x21...0x7E: true
        default: false
        }
    }

    /// The bytes that `text` stands for; `nil` where it stands for none, or is a digest.
    static func decode(_ text: Substring.UTF8View) -> [UInt8]? {
        guard text.first != UInt8(ascii: "~") else { return nil }
        var bytes: [UInt8] = []
        var rest = text[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(UInt8.init(hexadecimalDigit:)),
                let low = rest.popFirst().flatMap(UInt8.init(hexadecimalDigit:))
            else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }
}

extension [UInt8] {
    fileprivate mutating func append(percent byte: UInt8) {
        let digits = Array("0123456789ABCDEF".utf8)
        self += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 0xF)]]
    }
}

extension UInt8 {
    fileprivate init?(hexadecimalDigit digit: UInt8) {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self = digit - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self = digit - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self = digit - UInt8(ascii: "a") + 10
        default: return nil
        }
    }
}

extension Hexadecimal {
    /// The token, as it is written everywhere.
    init(_ token: LeaseToken) {
        self.init(high: token.words.high, low: token.words.low)
    }

    /// The inbox's name.
    init(_ inbox: InboxID) {
        self.init(high: inbox.words.high, low: inbox.words.low)
    }
}

extension RedisArgument {
    /// A token, as it is written everywhere.
    static func token(_ token: LeaseToken) -> RedisArgument { .hexadecimal(Hexadecimal(token)) }

    /// An inbox's name.
    static func inbox(_ inbox: InboxID) -> RedisArgument { .hexadecimal(Hexadecimal(inbox)) }
}

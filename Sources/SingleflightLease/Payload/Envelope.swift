import Singleflight

/// The bytes of a stored outcome: the codec that wrote them, the leader's label and trace, and the body. The layout is
/// in docs/protocol.md.
struct Envelope: Hashable, Sendable {
    /// Names the codec of the body.
    var codec: String
    /// The label of the process that led.
    var leader: String
    /// The leader's span, if it has one.
    var trace: TraceContext?
    var body: [UInt8]

    private static let magic: [UInt8] = Array("SF".utf8)
    private static let version: UInt8 = 1
    /// With a trace. An outcome without one is written as ever.
    private static let versionWithTrace: UInt8 = 2
    /// What fits into a length of one byte.
    static let maximumNameBytes = 255

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(8 + self.codec.utf8.count + self.leader.utf8.count + self.body.count)
        bytes += Self.magic
        bytes.append(self.trace == nil ? Self.version : Self.versionWithTrace)
        bytes.append(shortText: self.codec)
        bytes.append(shortText: Planted.bug("payload-names-no-leader") ? "" : self.leader)
        self.trace?.append(to: &bytes)
        bytes += self.body
        return bytes
    }

    init(codec: String, leader: String, trace: TraceContext? = nil, body: [UInt8]) {
        self.codec = codec
        self.leader = leader
        self.trace = trace
        self.body = body
    }

    init(bytes: [UInt8]) throws(DistributedGroupError) {
        var reader = ByteReader(bytes[...])
        guard bytes.starts(with: Self.magic), reader.skip(2), let version = reader.byte() else {
            throw DistributedGroupError(.decodingFailed, "the outcome was not written by this kind of program")
        }
        guard version == Self.version || version == Self.versionWithTrace else {
            throw DistributedGroupError(
                .decodingFailed,
                "the outcome has format version \(version), this program reads \(Self.version) and \(Self.versionWithTrace)"
            )
        }
        guard let codec = reader.shortText(), let leader = reader.shortText() else {
            throw DistributedGroupError(.decodingFailed, "the outcome is truncated")
        }
        self.codec = codec
        self.leader = leader
        if version == Self.versionWithTrace {
            guard let trace = TraceContext(&reader) else {
                throw DistributedGroupError(.decodingFailed, "the outcome is truncated")
            }
            self.trace = trace
        }
        self.body = Array(Planted.bug("payload-read-without-its-end") ? reader.rest.dropLast() : reader.rest)
    }
}

/// Reads a sequence of fields; every read answers `nil` where the bytes end too early.
struct ByteReader {
    private(set) var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        self.rest = bytes
    }

    mutating func skip(_ count: Int) -> Bool {
        guard self.rest.count >= count else { return false }
        self.rest.removeFirst(count)
        return true
    }

    mutating func byte() -> UInt8? {
        self.rest.popFirst()
    }

    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, self.rest.count >= count else { return nil }
        defer { self.rest.removeFirst(count) }
        return self.rest.prefix(count)
    }

    /// A length of one byte, and as many bytes of UTF-8.
    mutating func shortText() -> String? {
        guard let count = self.byte(), let bytes = self.take(Int(count)) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A length of four bytes, most significant first, and as many bytes.
    mutating func longBytes() -> ArraySlice<UInt8>? {
        guard let digits = self.take(4) else { return nil }
        return self.take(digits.reduce(0) { $0 << 8 | Int($1) })
    }
}

extension [UInt8] {
    /// A length of one byte, and as many bytes of UTF-8. Longer texts are cut.
    mutating func append(shortText text: String) {
        let bytes = text.prefix(utf8: Envelope.maximumNameBytes).utf8
        self.append(UInt8(bytes.count))
        self += bytes
    }

    /// A length of four bytes, most significant first, and as many bytes.
    mutating func append(longBytes bytes: some Collection<UInt8>) {
        let count = UInt32(clamping: bytes.count)
        self += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> $0) }
        self += bytes.prefix(Int(count))
    }
}

extension String {
    /// The longest beginning that has at most `count` bytes of UTF-8 and ends with a whole character.
    ///
    /// Cut within a character, the bytes would be repaired as they are read, and become longer than `count`.
    func prefix(utf8 count: Int) -> Substring {
        guard self.utf8.count > count else { return self[...] }
        var end = self.utf8.index(self.startIndex, offsetBy: count)
        while String.Index(end, within: self.unicodeScalars) == nil {
            end = self.utf8.index(before: end)
        }
        return self[..<end]
    }
}

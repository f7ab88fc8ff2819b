import HiredisClient

/// RESP2 read in the plainest way: all bytes are there, and one function calls itself for the elements of an array.
struct ReferenceReader {
    private enum Stop: Error {
        case incomplete
        case violation(RESPViolation)
    }

    private let bytes: [UInt8]
    private let limits: RESPLimits
    private var position = 0
    /// Where the current reply may not go on.
    private var end = 0
    private var elements = 0
    /// The current reply holds something that is well-formed and means nothing.
    private var isMeaningless = false

    static func read(_ bytes: [UInt8], limits: RESPLimits) -> (values: [RESPValue], end: End) {
        var reader = ReferenceReader(bytes: bytes, limits: limits)
        var values: [RESPValue] = []
        do {
            while reader.position < bytes.count {
                reader.end = reader.position + limits.maximumReplyBytes
                reader.elements = 0
                let value = try reader.value(depth: 1)
                if reader.isMeaningless { return (values, .violation(.refused(""))) }
                values.append(value)
            }
        } catch Stop.violation(let violation) {
            return (values, .violation(violation))
        } catch {}
        return (values, .open)
    }

    private init(bytes: [UInt8], limits: RESPLimits) {
        self.bytes = bytes
        self.limits = limits
    }

    private mutating func value(depth: Int) throws -> RESPValue {
        let type = try self.next()
        switch type {
        case UInt8(ascii: "+"): return .simpleString(try self.line())
        case UInt8(ascii: "-"): return .error(RedisServerError(message: try self.line()))
        case UInt8(ascii: ":"):
            let text = try self.line()
            let number = Int64(text)
            // Only the plainest form: no plus, no zero in front.
            if number.map(String.init) != text { self.isMeaningless = true }
            return .integer(number ?? 0)
        case UInt8(ascii: "$"):
            guard let count = try self.count(atMost: self.limits.maximumBulkBytes, orElse: .bulkTooLong) else {
                return .null
            }
            // Known from the header on, before the body comes.
            guard self.position - 1 + count <= self.end else { throw Stop.violation(.replyTooLong) }
            try self.lineFeed()
            guard self.bytes.count - self.position >= count else { throw Stop.incomplete }
            let body = self.bytes[self.position..<self.position + count]
            self.position += count
            guard try self.next() == UInt8(ascii: "\r") else { throw Stop.violation(.missingTerminator) }
            try self.lineFeed()
            return .bulk(Array(body))
        case UInt8(ascii: "*"):
            guard depth <= self.limits.maximumDepth else { throw Stop.violation(.nestedTooDeeply) }
            let room = self.limits.maximumElements - self.elements
            guard let count = try self.count(atMost: room, orElse: .tooManyElements) else { return .null }
            try self.lineFeed()
            self.elements += count
            return .array(try (0..<count).map { _ in try self.value(depth: depth + 1) })
        default: throw Stop.violation(.unknownType(type))
        }
    }

    private mutating func next() throws -> UInt8 {
        guard self.position < self.bytes.count else { throw Stop.incomplete }
        guard self.position < self.end else { throw Stop.violation(.replyTooLong) }
        defer { self.position += 1 }
        return self.bytes[self.position]
    }

    private mutating func lineFeed() throws {
        guard try self.next() == UInt8(ascii: "\n") else { throw Stop.violation(.missingTerminator) }
    }

    private mutating func line() throws -> String {
        var text: [UInt8] = []
        while true {
            let byte = try self.next()
            if byte == UInt8(ascii: "\r") { break }
            guard text.count < self.limits.maximumLineBytes else { throw Stop.violation(.lineTooLong) }
            text.append(byte)
        }
        try self.lineFeed()
        return String(decoding: text, as: UTF8.self)
    }

    /// The number in a header, up to its carriage return; nil for -1, and then with its line feed.
    private mutating func count(atMost limit: Int, orElse violation: RESPViolation) throws -> Int? {
        var text = ""
        while true {
            let byte = try self.next()
            if byte == UInt8(ascii: "\r") { break }
            text.unicodeScalars.append(Unicode.Scalar(byte))
            if text == "-" || text == "-1" { continue }
            guard let number = Int(text), String(number) == text, number >= 0 else {
                throw Stop.violation(.malformedHeader)
            }
            guard number <= limit else { throw Stop.violation(violation) }
        }
        if text == "-1" {
            try self.lineFeed()
            return nil
        }
        guard let number = Int(text) else { throw Stop.violation(.malformedHeader) }
        return number
    }
}

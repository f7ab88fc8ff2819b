/// One reply of a Redis server, in RESP2.
///
/// Bulk strings are arrays of bytes: one allocation each, where a `ByteBuffer` takes two.
package enum RESPValue: Sendable, Hashable {
    case simpleString(String)
    case error(RedisServerError)
    case integer(Int64)
    case bulk([UInt8])
    case array([RESPValue])
    /// The null bulk string and the null array, which mean the same.
    case null
    /// A reply with a string longer than the limit, which was skipped; the value is the string's length in bytes.
    case tooLong(Int)
}

extension RESPValue {
    /// The bytes of a bulk or simple string.
    package var bytes: [UInt8]? {
        switch self {
        case .bulk(let bytes): bytes
        case .simpleString(let string): Array(string.utf8)
        case .error, .integer, .array, .null, .tooLong: nil
        }
    }

    /// The text of a bulk or simple string; invalid UTF-8 is repaired.
    package var string: String? {
        switch self {
        case .bulk(let bytes): String(decoding: bytes, as: UTF8.self)
        case .simpleString(let string): string
        case .error, .integer, .array, .null, .tooLong: nil
        }
    }

    /// The value of an integer reply.
    package var integer: Int64? {
        if case .integer(let value) = self { value } else { nil }
    }

    /// The elements of an array reply.
    package var array: [RESPValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }
}

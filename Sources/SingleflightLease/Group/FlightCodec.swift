public import Foundation

/// Turns a group's values into bytes and back, for callers in other processes.
///
/// The codec's identifier travels with every payload: a process that reads a payload of another codec gets a clear error instead
/// of a misread value. Change the identifier (a version is part of it) whenever the bytes change their meaning.
///
/// While a new version of a program is rolled out, both versions lead and follow: each must read what the other one writes, or
/// its callers get an error, unless the group says ``UndecodablePolicy/runLocally``. A field that is added is optional, or has
/// a default where it is read; a field is removed one version after the last that reads it.
public protocol FlightCodec<Value>: Sendable {
    /// The values that travel.
    associatedtype Value: Sendable

    /// Names the codec and its version; at most 255 bytes of UTF-8.
    var identifier: String { get }

    /// Whether encoding and decoding of up to 64 KiB takes little time and never blocks, so that it may be done by a task
    /// that waits for the result. Otherwise a thread is used for it. False unless a codec says so.
    var isQuick: Bool { get }

    /// The bytes that stand for `value`. Where it throws, every caller of the flight gets
    /// ``DistributedGroupError/Code/encodingFailed``, in the leader's process, too.
    func encode(_ value: Value) throws -> [UInt8]

    /// The value that `bytes` stand for.
    func decode(_ bytes: [UInt8]) throws -> Value
}

extension FlightCodec {
    /// False: nothing is known of the codec.
    public var isQuick: Bool { false }
}

/// Bytes as they are.
public struct BytesCodec: FlightCodec {
    /// Creates the codec.
    public init() {}

    /// True.
    public var isQuick: Bool { true }

    /// `bytes/1`.
    public var identifier: String { "bytes/1" }

    /// The same bytes.
    public func encode(_ value: [UInt8]) -> [UInt8] { value }

    /// The same bytes.
    public func decode(_ bytes: [UInt8]) -> [UInt8] { bytes }
}

/// Any `Codable` value, as JSON.
public struct JSONCodec<Value: Codable & Sendable>: FlightCodec {
    private let encoder: JSONEncoder
    private let decoder: JSONDecoder

    /// Creates the codec.
    ///
    /// Processes that share flights must agree on how dates, data and names are written.
    ///
    /// - Parameters:
    ///   - encoder: must not be changed afterwards; `nil` for Foundation's usual one, which writes the numbers that JSON does not have
    ///     as `"NaN"`, `"Infinity"` and `"-Infinity"`. An encoder of one's own throws at them, unless it is told how to write them.
    ///   - decoder: must not be changed afterwards; `nil` for one that reads what the usual encoder writes.
    public init(encoder: JSONEncoder? = nil, decoder: JSONDecoder? = nil) {
        self.encoder = encoder ?? Self.usualEncoder
        self.decoder = decoder ?? Self.usualDecoder
    }

    private static var usualEncoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "Infinity",
            negativeInfinity: "-Infinity",
            nan: "NaN"
        )
        return encoder
    }

    private static var usualDecoder: JSONDecoder {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "Infinity",
            negativeInfinity: "-Infinity",
            nan: "NaN"
        )
        return decoder
    }

    /// True.
    public var isQuick: Bool { true }

    /// `json/1`.
    public var identifier: String { "json/1" }

    /// The value as JSON; throws what the value's own encoding throws.
    public func encode(_ value: Value) throws -> [UInt8] {
        Array(try self.encoder.encode(value))
    }

    /// The value that the JSON stands for; throws where it is no such JSON.
    public func decode(_ bytes: [UInt8]) throws -> Value {
        try self.decoder.decode(Value.self, from: Data(bytes))
    }
}

extension UUID: FlightKeyConvertible {
    /// The UUID's usual text form, in lowercase.
    public var flightKeyBytes: [UInt8] { Array(self.uuidString.lowercased().utf8) }
}

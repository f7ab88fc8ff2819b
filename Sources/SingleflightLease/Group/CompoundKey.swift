/// A key of several parts: a tenant and an identifier, a user and a page.
///
/// The parts stay apart whatever they hold: `CompoundKey("a:b", "c")` and `CompoundKey("a", "b:c")` are different keys.
/// A key that leaves out the tenant is the dangerous mistake of all coalescing: one customer would get another one's
/// result.
public struct CompoundKey: FlightKeyConvertible, CustomStringConvertible {
    /// The parts, each with `%` and `:` written as `%25` and `%3A`, with a `:` between them.
    public let flightKeyBytes: [UInt8]

    /// Makes a key of the parts in their order.
    public init(_ first: some FlightKeyConvertible, _ others: any FlightKeyConvertible...) {
        var bytes: [UInt8] = []
        bytes.append(part: first)
        for other in others {
            bytes.append(UInt8(ascii: ":"))
            bytes.append(part: other)
        }
        self.flightKeyBytes = bytes
    }

    /// The key as text, with bytes that are not UTF-8 replaced.
    public var description: String { String(decoding: self.flightKeyBytes, as: UTF8.self) }
}

extension [UInt8] {
    fileprivate mutating func append(part: any FlightKeyConvertible) {
        for byte in part.flightKeyBytes {
            switch byte {
            case UInt8(ascii: "%"): self += "%25".utf8
            case UInt8(ascii: ":"): self += "%3A".utf8
            default: self.append(byte)
            }
        }
    }
}

extension RawRepresentable where Self: FlightKeyConvertible, RawValue: FlightKeyConvertible {
    /// The raw value's bytes.
    public var flightKeyBytes: [UInt8] { self.rawValue.flightKeyBytes }
}

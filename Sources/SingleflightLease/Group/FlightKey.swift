import Singleflight

/// What is being computed: a group's name and a key within the group.
///
/// The group's name is part of the identity, so that values of two groups never mix.
public struct FlightKey: Hashable, Sendable, CustomStringConvertible {
    /// The group's name: 1 to 64 of `A-Za-z0-9._-`.
    public let group: String
    /// The key's bytes; any bytes, and any number of them.
    public let bytes: [UInt8]
    /// Of group and bytes, made once: a flight's key is looked up more than once.
    package let hash: Int

    /// Names a key of a group. Fails if the group's name is not one.
    public init(group: String, bytes: [UInt8]) throws(LeaseStoreError) {
        guard FlightKey.isName(group) else {
            throw LeaseStoreError(
                .invalidRequest,
                "the group name \(group.debugDescription) is not 1 to 64 of A-Z a-z 0-9 . _ -"
            )
        }
        self.init(checkedGroup: group, bytes: bytes)
    }

    /// For a group whose name was checked when the group was made.
    package init(checkedGroup: String, bytes: [UInt8]) {
        self.group = checkedGroup
        self.bytes = Planted.bug("keys-forget-their-end") ? Array(bytes.dropLast()) : bytes
        var hasher = Hasher()
        hasher.combine(checkedGroup)
        // All bytes at once: an array hashes them one by one.
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
        self.hash = hasher.finalize()
    }

    /// Whether both name the same key of the same group.
    public static func == (left: FlightKey, right: FlightKey) -> Bool {
        left.hash == right.hash && left.bytes == right.bytes && left.group == right.group
    }

    /// Feeds what was hashed when the key was made.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.hash)
    }

    /// Whether `name` can name a group or a namespace.
    public static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default:
                    false
                }
            }
    }

    /// The key without its group, as text, with bytes that are not UTF-8 replaced.
    var text: String { String(decoding: self.bytes, as: UTF8.self) }

    /// `group:key`, with bytes that are not UTF-8 replaced.
    public var description: String {
        "\(self.group):\(self.text)"
    }
}

/// A type whose values can be the keys of a ``DistributedGroup``.
///
/// Two equal keys must give equal bytes, in every process and every version of the program, and unequal keys unequal
/// bytes.
public protocol FlightKeyConvertible: Hashable, Sendable {
    /// The bytes that stand for this key in the store.
    var flightKeyBytes: [UInt8] { get }
}

extension String: FlightKeyConvertible {
    /// The string's UTF-8.
    ///
    /// Canonically equivalent strings are equal in Swift but can differ in UTF-8: normalize them first where that
    /// matters.
    public var flightKeyBytes: [UInt8] { Array(self.utf8) }
}

extension FixedWidthInteger where Self: FlightKeyConvertible {
    /// The number in decimal.
    public var flightKeyBytes: [UInt8] { Array(String(self).utf8) }
}

extension Int: FlightKeyConvertible {}
extension Int8: FlightKeyConvertible {}
extension Int16: FlightKeyConvertible {}
extension Int32: FlightKeyConvertible {}
extension Int64: FlightKeyConvertible {}
extension UInt: FlightKeyConvertible {}
extension UInt8: FlightKeyConvertible {}
extension UInt16: FlightKeyConvertible {}
extension UInt32: FlightKeyConvertible {}
extension UInt64: FlightKeyConvertible {}

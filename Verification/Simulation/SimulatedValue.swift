import Singleflight
import SingleflightLease

/// What a simulated operation returns: it tells which operation that was, and how its bytes fare.
struct SimulatedValue: Equatable {
    enum Kind: Character, CaseIterable {
        case plain = "v"
        /// Cannot be turned into bytes.
        case unencodable = "e"
        /// Cannot be read from its bytes.
        case undecodable = "d"
        /// Has more bytes than the group allows.
        case large = "l"
    }

    var kind: Kind
    /// The key's number.
    var key: Int
    /// The token that the operation ran under, or a number of its own without one.
    var run: String

    static let maximumBytes = 256

    var bytes: [UInt8] {
        let text = Array("\(self.kind.rawValue)\(self.key) \(self.run)".utf8)
        return self.kind == .large ? text + Array(" ".utf8) + [UInt8](repeating: 0x2E, count: Self.maximumBytes) : text
    }

    init(_ kind: Kind, key: Int, run: String) {
        self.kind = kind
        self.key = key
        self.run = run
    }

    /// Whatever the bytes say: some value comes of any.
    init(bytes: [UInt8]) {
        let words = String(decoding: bytes, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
        let head = words.first ?? ""
        self.kind = head.first.flatMap { Kind(rawValue: $0) } ?? .plain
        self.key = Int(head.dropFirst()) ?? -1
        self.run = words.count > 1 ? String(words[1]) : ""
    }
}

/// What a simulated operation throws.
struct SimulatedFailure: Error, Equatable, CustomStringConvertible {
    /// As of ``SimulatedValue/run``.
    var run: String

    var description: String { "failure of \(self.run)" }

    static let rule = TypedFailures(
        encode: { ($0 as? SimulatedFailure).map { Array($0.run.utf8) } },
        decode: { SimulatedFailure(run: String(decoding: $0, as: UTF8.self)) }
    )
}

/// A codec that fails where its values want it to, and tells its process of everything that it does.
struct SimulatedCodec: FlightCodec {
    struct Failure: Error {}

    /// Two codecs that read one another's bytes wrongly.
    static let identifiers = ["simulated/1", "simulated/2"]

    let identifier: String
    let isQuick: Bool
    let onUse: @Sendable () -> Void
    let onDecoding: @Sendable ([UInt8]) -> Void

    func encode(_ value: SimulatedValue) throws -> [UInt8] {
        self.onUse()
        guard value.kind != .unencodable else { throw Failure() }
        return Self.translate(value.bytes, self.identifier)
    }

    func decode(_ bytes: [UInt8]) throws -> SimulatedValue {
        self.onUse()
        self.onDecoding(bytes)
        let value = Self.read(bytes, self.identifier)
        guard value.kind != .undecodable else { throw Failure() }
        return value
    }

    static func read(_ bytes: [UInt8], _ identifier: String) -> SimulatedValue {
        SimulatedValue(bytes: self.translate(bytes, identifier))
    }

    private static func translate(_ bytes: [UInt8], _ identifier: String) -> [UInt8] {
        identifier == self.identifiers[0] ? bytes : bytes.map { $0 ^ 1 }
    }
}

import Singleflight

/// An error that an operation threw, as every caller of its flight is told of it, in the leader's process and in all others.
///
/// The same everywhere, so that code that catches it does the same on every host. A group that was given ``TypedFailures``
/// throws the errors of the types that it knows as themselves instead, everywhere, too.
public struct RemoteFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The error's type in the leader's process.
    public var type: String
    /// The error's description, at most 4096 bytes of it.
    public var message: String
    /// The label of the process that led.
    public var leader: String
    /// The flight that failed; `nil` without a lease.
    public var token: LeaseToken?
    /// The error itself, where the operation ran in this very process; `nil` in all others.
    ///
    /// What depends on it does different things on different hosts: it is meant for logs and traces.
    public internal(set) var original: (any Error)?

    /// Creates a failure.
    public init(type: String, message: String, leader: String, token: LeaseToken?) {
        self.type = type
        self.message = message
        self.leader = leader
        self.token = token
    }

    /// Whether both tell the same of the same flight, with the ``original`` or without.
    public static func == (left: RemoteFailure, right: RemoteFailure) -> Bool {
        left.type == right.type && left.message == right.message && left.leader == right.leader
            && left.token == right.token
    }

    /// Hashes what ``==(_:_:)`` compares.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.type)
        hasher.combine(self.message)
        hasher.combine(self.leader)
        hasher.combine(self.token)
    }

    /// The type, the message and who led.
    public var description: String {
        "\(self.type) in \(self.leader): \(self.message)"
    }
}

/// How errors of known types reach every caller as themselves.
///
/// Callers in the leader's process get what `decode` makes of the encoded error, as all others do.
public struct TypedFailures: Sendable {
    let encode: @Sendable (any Error) -> [UInt8]?
    let decode: @Sendable ([UInt8]) -> (any Error)?

    /// Creates a rule from its two halves; each answers `nil` for what it does not know, which is then told as a ``RemoteFailure``.
    public init(
        encode: @escaping @Sendable (any Error) -> [UInt8]?,
        decode: @escaping @Sendable ([UInt8]) -> (any Error)?
    ) {
        self.encode = encode
        self.decode = decode
    }

    /// Errors of one `Codable` type cross as JSON.
    public static func codable<Failure: Error & Codable>(_ type: Failure.Type) -> TypedFailures {
        let codec = JSONCodec<Failure>()
        return TypedFailures(
            encode: { error in (error as? Failure).flatMap { try? codec.encode($0) } },
            decode: { bytes in try? codec.decode(bytes) }
        )
    }
}

/// The body of a stored failure.
struct FailureBody: Hashable, Sendable {
    var type: String
    var message: String
    /// The error itself, where the group has a rule for its type.
    var typed: [UInt8]?

    private static let maximumMessageBytes = 4096

    /// - Parameter maximumTypedBytes: an encoded error that is longer is left out: the failure crosses as a ``RemoteFailure``.
    init(_ error: any Error, typedFailures: TypedFailures?, maximumTypedBytes: Int) {
        self.type = String(reflecting: Swift.type(of: error))
        self.message = String(String(describing: error).prefix(utf8: Self.maximumMessageBytes))
        self.typed = typedFailures?.encode(error).flatMap { $0.count <= maximumTypedBytes ? $0 : nil }
    }

    init?(bytes: [UInt8]) {
        var reader = ByteReader(bytes[...])
        guard let type = reader.longBytes(), let message = reader.longBytes() else { return nil }
        self.type = String(decoding: type, as: UTF8.self)
        self.message = String(decoding: message, as: UTF8.self)
        self.typed = reader.longBytes().map { Array($0) }
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(longBytes: self.type.utf8)
        bytes.append(longBytes: self.message.utf8)
        if let typed {
            bytes.append(longBytes: typed)
        }
        return bytes
    }

    /// - Parameter original: the error, where the operation ran in this process.
    func error(
        leader: String,
        token: LeaseToken?,
        original: (any Error)? = nil,
        typedFailures: TypedFailures?
    ) -> any Error {
        if !Planted.bug("typed-failure-told-as-another"), let typed, let error = typedFailures?.decode(typed) {
            return error
        }
        var failure = RemoteFailure(type: self.type, message: self.message, leader: leader, token: token)
        failure.original = original
        return failure
    }
}

import Singleflight

/// Why a distributed group itself, not the operation, gave a caller no value.
public struct DistributedGroupError: Error, Sendable, CustomStringConvertible {
    /// The kinds of failure; more may come.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case invalidConfiguration, unavailable, refused
            case encodingFailed, decodingFailed, resultTooLarge, flightTooLong
            case storeFull, noResult, unknown
            case streamTooLong, streamLost, streamRestarted, streamMisused
        }

        private let kind: Kind

        private init(_ kind: Kind) {
            self.kind = kind
        }

        /// The group's name or its configuration is not usable.
        public static let invalidConfiguration = Code(.invalidConfiguration)
        /// The store could not be asked, and the policy is to fail then. The flight may run, or have run, elsewhere.
        public static let unavailable = Code(.unavailable)
        /// The store does not let this process in: wrong credentials, or a missing right.
        public static let refused = Code(.refused)
        /// The operation's value could not be encoded. Everybody gets this, the callers in the leader's process, too.
        public static let encodingFailed = Code(.encodingFailed)
        /// The outcome could not be decoded here: another codec, another version, or damaged.
        public static let decodingFailed = Code(.decodingFailed)
        /// The encoded value is longer than the group allows.
        public static let resultTooLarge = Code(.resultTooLarge)
        /// The operation ran longer than the group allows.
        public static let flightTooLong = Code(.flightTooLong)

        /// The store had no room for the result; the process that computed it has it.
        public static let storeFull = Code(.storeFull)
        /// The operation of a call for many keys returned nothing for this one.
        public static let noResult = Code(.noResult)
        /// The parts of a stream are longer, all together, than the group allows.
        public static let streamTooLong = Code(.streamTooLong)
        /// The store has lost parts of a stream, or their time was over before they were read.
        public static let streamLost = Code(.streamLost)
        /// The leader of a stream was lost after some of its parts were read, and another one begins anew.
        public static let streamRestarted = Code(.streamRestarted)
        /// A stream was written to after its end, or read by two tasks at a time.
        public static let streamMisused = Code(.streamMisused)
        /// A failure of a kind that only a later version knows; the message says what it is.
        public static let unknown = Code(.unknown)

        /// The code's name; one of few, fit for a metric's label.
        public var description: String { self.kind.rawValue }

        /// The code of that name, if there is one.
        init?(description: String) {
            guard let kind = Kind(rawValue: description) else { return nil }
            self.kind = kind
        }
    }

    /// What kind of failure it is.
    public var code: Code
    /// What happened.
    public var message: String
    /// The error beneath, if there is one.
    public var underlying: (any Error)?

    /// Creates an error.
    public init(_ code: Code, _ message: String, underlying: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.underlying = underlying
    }

    /// The code and the message, of which 200 characters; on one line.
    public var description: String {
        "\(self.code): " + String(line: self.message)
    }
}

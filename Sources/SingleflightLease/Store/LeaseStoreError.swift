/// Why a lease store could not carry out a request.
///
/// It is about the store, never about the flight: an answer such as "somebody else leads" is a reply, not an error.
public struct LeaseStoreError: Error, Sendable, CustomStringConvertible {
    /// The kinds of failure; more may come.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case unavailable, down, timedOut, tooLarge, refused, invalidRequest, protocolViolation, full, shutDown
        }

        private let kind: Kind

        private init(_ kind: Kind) {
            self.kind = kind
        }

        /// The store could not be reached, or cannot serve writes just now.
        public static let unavailable = Code(.unavailable)
        /// The store has been out of reach for longer than the command timeout, and was not asked. It is tried again in
        /// the background.
        public static let down = Code(.down)
        /// No answer came within the command timeout.
        public static let timedOut = Code(.timedOut)
        /// A result is longer than the store, or this process, takes; or it could not be passed on in two attempts.
        public static let tooLarge = Code(.tooLarge)
        /// The store does not let us: authentication or permission.
        public static let refused = Code(.refused)
        /// The request itself is wrong, and would be wrong again.
        public static let invalidRequest = Code(.invalidRequest)
        /// The store answered something that this version does not understand.
        public static let protocolViolation = Code(.protocolViolation)
        /// The store has no room for the result.
        public static let full = Code(.full)
        /// The store object was shut down in this process.
        public static let shutDown = Code(.shutDown)

        /// The code's name; one of few, fit for a metric's label.
        public var description: String { self.kind.rawValue }
    }

    /// What kind of failure it is.
    public var code: Code
    /// What happened, and to what; holds no secret.
    public var message: String
    /// Whether the request may have been carried out although no answer came.
    public var mayHaveExecuted: Bool
    /// The error beneath, if there is one.
    public var underlying: (any Error)?

    /// Creates an error.
    public init(_ code: Code, _ message: String, mayHaveExecuted: Bool = false, underlying: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.mayHaveExecuted = mayHaveExecuted
        self.underlying = underlying
    }

    /// Whether the same request may succeed a little later.
    public var isTransient: Bool {
        self.code == .unavailable || self.code == .timedOut || self.code == .down
    }

    /// The code and the message.
    public var description: String {
        "\(self.code): \(self.message)"
    }
}

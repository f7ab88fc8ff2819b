/// Why a group itself, not the operation, gave a caller no result.
public struct GroupError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of a ``GroupError``. More may be added.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private enum Base: String {
            case reentrantCall
            case tooManyWaiters
            case leaderLeft
            case subscriptionOver
            case abandoned
        }

        private let base: Base

        /// An operation asked its own group for its own key, and would have waited for itself.
        public static let reentrantCall = Code(base: .reentrantCall)

        /// The flight already had ``GroupConfiguration/maximumWaitersPerKey`` waiting callers.
        public static let tooManyWaiters = Code(base: .tooManyWaiters)

        /// The flight's leader went away, or was cancelled, without a result.
        public static let leaderLeft = Code(base: .leaderLeft)

        /// The subscription had been left, or its outcome taken, before.
        public static let subscriptionOver = Code(base: .subscriptionOver)

        /// The flight had ended because nobody waited for it any more.
        public static let abandoned = Code(base: .abandoned)

        /// A short, constant text, fit for a metric's dimension.
        public var description: String { self.base.rawValue }
    }

    /// What kind of error it is.
    public let code: Code

    /// The key as text, shortened to 200 characters.
    public let key: String

    /// The bound that was reached, for ``Code-swift.struct/tooManyWaiters``.
    public let limit: Int?

    @usableFromInline
    init(_ code: Code, key: some Any, limit: Int? = nil) {
        self.code = code
        self.key = String(String(describing: key).prefix(200))
        self.limit = limit
    }

    /// A sentence that names the key.
    public var description: String {
        switch self.code {
        case .reentrantCall:
            "the operation for key '\(self.key)' asked its own group for the same key and would wait for itself"
        case .tooManyWaiters:
            "key '\(self.key)' already has its maximum of \(self.limit ?? 0) waiting callers"
        case .leaderLeft:
            "the leader of key '\(self.key)' went away without a result"
        case .subscriptionOver:
            "the subscription to key '\(self.key)' is over"
        default:
            "nobody waited for key '\(self.key)' any more"
        }
    }
}

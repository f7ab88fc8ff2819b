/// Why a group itself, not the operation, gave a caller no result.
public struct GroupError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of a ``GroupError``. More may be added.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private enum Base: String {
            case reentrantCall
            case tooManyWaiters
            case noResult
        }

        private let base: Base

        /// An operation asked for what waits for itself: for its own key, or for that of an operation that waits for
        /// it.
        public static let reentrantCall = Code(base: .reentrantCall)

        /// The flight already had ``GroupConfiguration/maximumWaitersPerKey`` waiting callers.
        public static let tooManyWaiters = Code(base: .tooManyWaiters)

        /// The operation of a call for many keys returned nothing for this one.
        public static let noResult = Code(base: .noResult)

        /// A short, constant text, fit for a metric's dimension.
        public var description: String { self.base.rawValue }
    }

    /// What an error carries is kept aside: each ``Outcome`` has room for an error, and takes 12 bytes instead of 34
    /// (of an integer). So it is passed in registers; that took a call's frame from 400 bytes to 160.
    private final class Storage: Sendable {
        let code: Code
        let key: String
        let limit: Int?
        let path: [String]

        init(code: Code, key: String, limit: Int?, path: [String]) {
            self.code = code
            self.key = key
            self.limit = limit
            self.path = path
        }
    }

    private let storage: Storage

    /// What kind of error it is.
    public var code: Code { self.storage.code }

    /// The key as text, shortened to 200 characters.
    public var key: String { self.storage.key }

    /// The bound that was reached, for ``Code-swift.struct/tooManyWaiters``.
    public var limit: Int? { self.storage.limit }

    /// For ``Code-swift.struct/reentrantCall`` through other operations: their keys, in the order in which each waits
    /// for the next one, with the caller's at the beginning and at the end. Empty where an operation asked for its own
    /// key itself. Keys of other groups are told as `group:key` where the circle goes through other processes.
    public var path: [String] { self.storage.path }

    /// Creates an error.
    ///
    /// - Parameters:
    ///   - code: what kind of error it is.
    ///   - key: what the caller asked for.
    ///   - limit: the bound that was reached, if one was.
    ///   - path: the keys of a circle of calls, if there is one.
    public init(_ code: Code, key: some Any, limit: Int? = nil, path: [String] = []) {
        self.storage = Storage(code: code, key: Self.text(of: key), limit: limit, path: path)
    }

    package static func text(of key: some Any) -> String { String(String(describing: key).prefix(200)) }

    /// Whether both say the same of the same key.
    public static func == (left: GroupError, right: GroupError) -> Bool {
        left.code == right.code && left.key == right.key && left.limit == right.limit && left.path == right.path
    }

    /// Hashes what ``==(_:_:)`` compares.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.code)
        hasher.combine(self.key)
        hasher.combine(self.limit)
    }

    /// A sentence that names the key.
    public var description: String {
        switch self.code {
        case .reentrantCall where !self.path.isEmpty:
            "the call for key '\(self.key)' would wait for itself: \(self.path.joined(separator: " → "))"
        case .reentrantCall:
            "the operation for key '\(self.key)' asked its own group for the same key and would wait for itself"
        case .noResult:
            "the operation returned nothing for the key '\(self.key)'"
        default:
            "key '\(self.key)' already has its maximum of \(self.limit ?? 0) waiting callers"
        }
    }
}

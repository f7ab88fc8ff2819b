import Singleflight
public import Synchronization

/// News from the inbox about one key.
public enum InboxEvent: Sendable {
    /// A message about a flight of the key.
    case announced(Announcement)
    /// The inbox has lost its connection: until it is resumed nothing is heard, and perhaps nothing can be asked.
    case interrupted
    /// The inbox was not, and now is again, connected: messages may have been missed.
    case resumed
    /// The store shuts down in this process: leases are to be handed back now.
    case shuttingDown
}

/// A message about one flight. It is a fact about exactly the flight that its token names, and a mere hint about any
/// other.
public struct Announcement: Hashable, Sendable {
    /// What is announced.
    public enum News: Hashable, Sendable {
        /// The flight ended so.
        case outcome(StoredOutcome)
        /// Something happened to the flight: ask the store.
        case hint
        /// To the leader: no other process waits any more.
        case unawaited
        /// The operation is so far.
        case progress(FlightProgress)
        /// The flight's stream has one more chunk.
        case chunk(StoredChunk)
    }

    /// The flight.
    public var token: LeaseToken
    /// What happened to it.
    public var news: News

    /// Creates an announcement.
    public init(token: LeaseToken, news: News) {
        self.token = token
        self.news = news
    }
}

/// A listener's registration with an inbox.
public struct InboxRegistration: Sendable {
    @usableFromInline
    enum Change: Sendable {
        case stopWaiting
        case cancel
    }

    private let perform: @Sendable (Change) -> Void

    @usableFromInline
    init(_ perform: @escaping @Sendable (Change) -> Void) {
        self.perform = perform
    }

    /// The listener leads now. It still hears everything, but is no reason to keep its process among the flight's
    /// waiters: a leader that counted as waiting for itself would never learn that nobody else does. Idempotent.
    public func stopWaiting() {
        self.perform(.stopWaiting)
    }

    /// Ends the registration. An event that is just being delivered may still come. Idempotent.
    public func cancel() {
        if !Planted.bug("registration-outlives-its-flight") { self.perform(.cancel) }
    }
}

/// Hands the events of a process's inbox to the listeners of each key: for implementations of ``LeaseStore``.
///
/// `Name` is whatever an announcement calls the key by.
///
/// Handlers are called outside of the lock, on the thread that delivers.
public final class InboxRouter<Name: Hashable & Sendable>: Sendable {
    @usableFromInline typealias Handler = @Sendable (InboxEvent) -> Void

    @usableFromInline
    struct Listener: Sendable {
        @usableFromInline var id: UInt64
        @usableFromInline var isWaiting = true
        @usableFromInline var mark: UInt16
        @usableFromInline var handler: Handler

        @inlinable
        init(id: UInt64, mark: UInt16, handler: @escaping Handler) {
            self.id = id
            self.mark = mark
            self.handler = handler
        }
    }

    @usableFromInline
    struct State: Sendable {
        @usableFromInline var nextID: UInt64 = 0
        @usableFromInline var listeners: [Name: Listeners] = [:]
        /// The process shuts down: every new listener is told at once.
        @usableFromInline var isClosed = false

        @inlinable
        init() {}
    }

    /// Nearly always one: kept in place, without an array.
    @usableFromInline
    struct Listeners: Sendable {
        @usableFromInline var first: Listener
        @usableFromInline var others: [Listener]

        @inlinable
        init(first: Listener, others: [Listener] = []) {
            self.first = first
            self.others = others
        }

        @inlinable
        var all: [Listener] { [self.first] + self.others }

        @inlinable
        var waitingCount: Int {
            (self.first.isWaiting ? 1 : 0) + self.others.count(where: \.isWaiting)
        }

        @inlinable
        mutating func stopWaiting(_ id: UInt64) {
            if self.first.id == id {
                self.first.isWaiting = false
            } else if let index = self.others.firstIndex(where: { $0.id == id }) {
                self.others[index].isWaiting = false
            }
        }

        /// Nil if none is left.
        @inlinable
        func removing(_ id: UInt64) -> Listeners? {
            let remaining = self.all.filter { $0.id != id }
            return remaining.first.map { Listeners(first: $0, others: Array(remaining.dropFirst())) }
        }
    }

    @usableFromInline let state = Mutex(State())
    @usableFromInline let onEmpty: @Sendable () -> Void

    /// Creates a router without listeners.
    public convenience init() {
        self.init(onEmpty: {})
    }

    /// - Parameter onEmpty: called when the last listener of all keys has gone, outside of the lock.
    package init(onEmpty: @escaping @Sendable () -> Void) {
        self.onEmpty = onEmpty
    }

    /// Adds a listener for `key`; after ``close()`` it hears of the shutdown before this returns. O(1).
    ///
    /// - Parameters:
    ///   - key: the key's name.
    ///   - mark: what the key has in common with others whose messages come on the same channel, for
    ///     ``deliver(_:toMarks:)``.
    ///   - handler: gets the events.
    @inlinable
    public func listen(
        for key: Name,
        mark: UInt16 = 0,
        _ handler: @escaping @Sendable (InboxEvent) -> Void
    ) -> InboxRegistration {
        let (id, isClosed) = self.state.withLock { state in
            let id = state.nextID
            state.nextID += 1
            let listener = Listener(id: id, mark: mark, handler: handler)
            if state.listeners[key] == nil {
                state.listeners[key] = Listeners(first: listener)
            } else {
                state.listeners[key]?.others.append(listener)
            }
            return (id, state.isClosed)
        }
        if isClosed { handler(.shuttingDown) }
        // A listener keeps the router alive until it is canceled, as the router keeps the listener. A weak reference
        // would cost as much as the rest of a registration.
        return InboxRegistration { change in
            switch change {
            case .stopWaiting: self.stopWaiting(id, for: key)
            case .cancel: self.remove(id, for: key)
            }
        }
    }

    /// The number of listeners for `key` that wait: those that lead don't count.
    @inlinable
    public func waitingCount(for key: Name) -> Int {
        self.state.withLock { $0.listeners[key]?.waitingCount ?? 0 }
    }

    /// The number of keys with listeners.
    public var keyCount: Int {
        self.state.withLock { $0.listeners.count }
    }

    /// Delivers `event` to the listeners of `key`. Answers whether there was one.
    @inlinable
    @discardableResult
    public func deliver(_ event: InboxEvent, for key: Name) -> Bool {
        guard let listeners = self.state.withLock({ $0.listeners[key] }) else { return false }
        listeners.first.handler(event)
        for listener in listeners.others {
            listener.handler(event)
        }
        return true
    }

    /// Tells every listener, and from now on everybody who comes to listen, that the process shuts down. Idempotent.
    ///
    /// Closed first, and told then: a flight that begins in between would never hear of it, and leave its lease behind.
    public func close() {
        let isFirst = self.state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        if isFirst { self.deliverToAll(.shuttingDown) }
    }

    /// Delivers `event` to every listener of every key.
    public func deliverToAll(_ event: InboxEvent) {
        let listeners = self.state.withLock { $0.listeners.values.flatMap(\.all) }
        for listener in listeners {
            listener.handler(event)
        }
    }

    /// Delivers `event` to every listener whose key has one of these marks.
    public func deliver(_ event: InboxEvent, toMarks marks: Set<UInt16>) {
        let listeners = self.state.withLock { state in
            state.listeners.values.filter { marks.contains($0.first.mark) }.flatMap(\.all)
        }
        for listener in listeners {
            listener.handler(event)
        }
    }

    /// The marks of all keys with listeners.
    public var marks: Set<UInt16> {
        self.state.withLock { Set($0.listeners.values.lazy.map(\.first.mark)) }
    }

    @inlinable
    func stopWaiting(_ id: UInt64, for key: Name) {
        // Changed in place it would cost two allocations, of the accessors' frames.
        self.state.withLock { state in
            guard var listeners = state.listeners[key] else { return }
            listeners.stopWaiting(id)
            state.listeners[key] = listeners
        }
    }

    @inlinable
    func remove(_ id: UInt64, for key: Name) {
        let isEmpty = self.state.withLock { state in
            guard let listeners = state.listeners[key] else { return false }
            if listeners.others.isEmpty {
                guard listeners.first.id == id else { return false }
                state.listeners[key] = nil
            } else {
                state.listeners[key] = listeners.removing(id)
            }
            return state.listeners.isEmpty
        }
        if isEmpty {
            self.onEmpty()
        }
    }
}

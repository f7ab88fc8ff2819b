import Synchronization

/// News from the inbox about one key.
public enum InboxEvent: Sendable {
    /// A message about a flight of the key.
    case announced(Announcement)
    /// The inbox was not, and now is again, connected: messages may have been missed.
    case resumed
    /// The store shuts down in this process: leases are to be handed back now.
    case shuttingDown
}

/// A message about one flight. It is a fact about exactly the flight that its token names, and a mere hint about any other.
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
public final class InboxRegistration: Sendable {
    private let onStopWaiting: @Sendable () -> Void
    private let onCancel: @Sendable () -> Void

    init(onStopWaiting: @escaping @Sendable () -> Void, onCancel: @escaping @Sendable () -> Void) {
        self.onStopWaiting = onStopWaiting
        self.onCancel = onCancel
    }

    /// The listener leads now. It still hears everything, but is no reason to keep its process among the flight's waiters: a leader
    /// that counted as waiting for itself would never learn that nobody else does. Idempotent.
    public func stopWaiting() {
        self.onStopWaiting()
    }

    /// Ends the registration. An event that is just being delivered may still come. Idempotent.
    public func cancel() {
        self.onCancel()
    }
}

/// Hands the events of a process's inbox to the listeners of each key: for implementations of ``LeaseStore``.
///
/// `Name` is whatever an announcement calls the key by.
///
/// Handlers are called outside of the lock, on the thread that delivers.
public final class InboxRouter<Name: Hashable & Sendable>: Sendable {
    private typealias Handler = @Sendable (InboxEvent) -> Void

    private struct Listener {
        var id: UInt64
        var isWaiting = true
        var handler: Handler
    }

    private struct State {
        var nextID: UInt64 = 0
        var listeners: [Name: [Listener]] = [:]
    }

    private let state = Mutex(State())
    private let onEmpty: @Sendable () -> Void

    /// Creates a router without listeners.
    public convenience init() {
        self.init(onEmpty: {})
    }

    /// - Parameter onEmpty: called when the last listener of all keys has gone, outside of the lock.
    package init(onEmpty: @escaping @Sendable () -> Void) {
        self.onEmpty = onEmpty
    }

    /// Adds a listener for `key`. O(1).
    public func listen(for key: Name, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        let id = self.state.withLock { state in
            let id = state.nextID
            state.nextID += 1
            state.listeners[key, default: []].append(Listener(id: id, handler: handler))
            return id
        }
        return InboxRegistration(
            onStopWaiting: { [weak self] in self?.stopWaiting(id, for: key) },
            onCancel: { [weak self] in self?.remove(id, for: key) }
        )
    }

    /// The number of listeners for `key` that wait: those that lead don't count.
    public func waitingCount(for key: Name) -> Int {
        self.state.withLock { $0.listeners[key]?.count(where: \.isWaiting) ?? 0 }
    }

    /// The number of keys with listeners.
    public var keyCount: Int {
        self.state.withLock { $0.listeners.count }
    }

    /// Delivers `event` to the listeners of `key`. Answers whether there was one.
    @discardableResult
    public func deliver(_ event: InboxEvent, for key: Name) -> Bool {
        let listeners = self.state.withLock { $0.listeners[key] ?? [] }
        for listener in listeners {
            listener.handler(event)
        }
        return !listeners.isEmpty
    }

    /// Delivers `event` to every listener of every key.
    public func deliverToAll(_ event: InboxEvent) {
        let listeners = self.state.withLock { $0.listeners.values.flatMap { $0 } }
        for listener in listeners {
            listener.handler(event)
        }
    }

    private func stopWaiting(_ id: UInt64, for key: Name) {
        self.state.withLock { state in
            guard let index = state.listeners[key]?.firstIndex(where: { $0.id == id }) else { return }
            state.listeners[key]?[index].isWaiting = false
        }
    }

    private func remove(_ id: UInt64, for key: Name) {
        let isEmpty = self.state.withLock { state in
            guard var remaining = state.listeners.removeValue(forKey: key) else { return false }
            remaining.removeAll { $0.id == id }
            if !remaining.isEmpty {
                state.listeners[key] = remaining
            }
            return state.listeners.isEmpty
        }
        if isEmpty {
            self.onEmpty()
        }
    }
}

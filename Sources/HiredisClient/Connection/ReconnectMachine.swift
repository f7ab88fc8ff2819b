import NIOCore

/// Keeps one connection up: when to try, when to wait and when to stop, as a value without I/O.
struct ReconnectMachine {
    /// Names one attempt, so that what is heard of an earlier one can be told apart.
    typealias Attempt = UInt64

    private enum State {
        /// Not started. Exits: connecting, shutDown.
        case idle
        /// Exits: connected, waiting, shutDown.
        case connecting(Attempt)
        /// Exits: waiting, shutDown.
        case connected(Attempt, since: NIODeadline)
        /// Exits: connecting, shutDown.
        case waiting
        case shutDown
    }

    private let backoff: Backoff
    private var state = State.idle
    private var attempts: Attempt = 0
    private var failures = 0

    init(backoff: Backoff) {
        self.backoff = backoff
    }

    var isConnected: Bool {
        if case .connected = state { true } else { false }
    }

    var isStarted: Bool {
        if case .idle = state { false } else { true }
    }

    var isShutDown: Bool {
        if case .shutDown = state { true } else { false }
    }

    /// The attempt to make now, or `nil` if started or shut down already.
    mutating func start() -> Attempt? {
        guard case .idle = state else { return nil }
        return connect()
    }

    /// The wait is over: the attempt to make now, or `nil` if nobody waits for it any more.
    mutating func waited() -> Attempt? {
        guard case .waiting = state else { return nil }
        return connect()
    }

    private mutating func connect() -> Attempt {
        attempts += 1
        state = .connecting(attempts)
        return attempts
    }

    /// The attempt led to a usable connection; `false` if the connection is not wanted any more.
    mutating func connected(_ attempt: Attempt, now: NIODeadline) -> Bool {
        guard case .connecting(attempt) = state else { return false }
        state = .connected(attempt, since: now)
        return true
    }

    /// The attempt failed or its connection was lost: how long to wait, or `nil` if it is not the current one.
    ///
    /// Only a connection that lasted makes the failures before it forgotten: one that is accepted and dropped over and
    /// over is a failing one.
    ///
    /// - Parameter random: a number in `0..<1`.
    mutating func failed(
        _ attempt: Attempt,
        with error: RedisClientError,
        now: NIODeadline,
        random: Double
    ) -> TimeAmount? {
        switch state {
        case .connecting(attempt):
            break
        case .connected(attempt, let since):
            if now - since >= TimeAmount(backoff.maximum) {
                failures = 0
            }
        case .idle, .connecting, .connected, .waiting, .shutDown:
            return nil
        }
        state = .waiting
        failures += 1
        let delay =
            error.isLasting
            ? backoff.patientDelay(random: random)
            : backoff.delay(afterFailures: failures, random: random)
        return TimeAmount(delay)
    }

    /// The attempt failed for what is done otherwise next time: the attempt to make now, or `nil` if it is not the
    /// current one.
    mutating func again(_ attempt: Attempt) -> Attempt? {
        guard case .connecting(attempt) = state else { return nil }
        return connect()
    }

    /// Terminal. `false` if it was shut down already.
    mutating func shutDown() -> Bool {
        if case .shutDown = state { return false }
        state = .shutDown
        return true
    }
}

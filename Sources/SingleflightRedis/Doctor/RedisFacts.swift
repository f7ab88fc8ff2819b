/// What ``RedisProbe`` found out about a server, as the user it logged in as. Judging it is somebody else's business.
package struct RedisFacts: Sendable {
    /// What became of the scripts that were tried.
    package enum Scripts: Sendable, Hashable {
        /// They may begin with `#!lua`, as from 7.0 on.
        case withShebang
        /// They run, but only without that line.
        case withoutShebang
        /// They do not run, because of this.
        case none(String)
    }

    /// What became of a message to an inbox of our own.
    package enum Inbox: Sendable, Hashable {
        /// It came, so long after it was sent.
        case delivered(after: Duration)
        /// It was sent, and did not come within the command timeout.
        case silent
        /// It could not be sent, or the inbox not be subscribed to, because of this.
        case refused(String)
        /// Neither could be tried to the end, because of this.
        case failed(String)
    }

    /// How far the server's clock is ahead of ours: at least `lower`, at most `upper`; negative where it is behind.
    package struct ClockOffset: Sendable, Hashable {
        package var lower: Duration
        package var upper: Duration

        package init(lower: Duration, upper: Duration) {
            self.lower = lower
            self.upper = upper
        }
    }

    /// The user's name in the server; nil if the user may not ask.
    package var user: String?
    /// `master`, `slave` or `sentinel`; nil if the user may not ask.
    package var role: String?
    /// The fields of `INFO`; empty if the user may not ask.
    package var info: [String: String] = [:]
    /// Configuration parameters by name; those that the user may not ask for, or the server does not know, are missing.
    package var settings: [String: String] = [:]
    /// Commands that a worker needs and this user may not send, with what the server said.
    package var refusedCommands: [String: String] = [:]
    /// Whether the user may look for leases (`SCAN`).
    package var mayScan = true
    /// Why a write was not accepted although the user may write.
    package var writeError: String?
    package var scripts = Scripts.withShebang
    package var inbox = Inbox.silent
    /// nil if the user may not ask for the time.
    package var clockOffset: ClockOffset?
    /// Round trips of PINGs, sorted.
    package var roundTrips: [Duration] = []

    package init() {}
}

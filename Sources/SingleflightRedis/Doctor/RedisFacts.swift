package import HiredisClient
package import SingleflightLease

/// What ``RedisProbe`` found out about a server, as the user it logged in as. Judging it is somebody else's business.
package struct RedisFacts: Sendable {
    /// What became of the scripts that were tried.
    package enum Scripts: Sendable, Hashable {
        /// They may begin with `#!lua`, as from 7.0 on.
        case withShebang
        /// They run, but only without that line, of which the server says this.
        case withoutShebang(String)
        /// They do not run, because of this.
        case refused(String)
    }

    /// What became of a message to an inbox of our own.
    package enum Inbox: Sendable, Hashable {
        /// It came, this long after it was sent.
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

    /// A command that a worker sends, and what the server said instead of doing it.
    package struct Refusal: Sendable, Hashable {
        package enum Reason: Sendable, Hashable {
            /// The user may not send it.
            case command
            /// The user may send it, but not for keys of leases.
            case keys
            /// The server has no such command: it was renamed, disabled, or came with a later version.
            case unknown
        }

        package var reason: Reason
        package var message: String

        package init(_ reason: Reason, _ message: String) {
            self.reason = reason
            self.message = message
        }
    }

    /// Why the server cannot be asked any more; nil where it answered to the end. What was not asked until then is
    /// missing below.
    package var failure: LeaseStoreError?
    /// The user's name in the server, as the URL has it if the user may not ask; nil if neither tells.
    package var user: String?
    /// `master`, `slave` or `sentinel`, by ROLE or by INFO; nil if the user may ask for neither.
    package var role: String?
    /// Where a replica's primary is.
    package var primary: (host: String, port: Int)?
    /// What the nodes of the cluster say; nil where there is none, or the user may not ask.
    package var cluster: ClusterFacts?
    /// What the sentinels say; nil where the URL names none.
    package var sentinels: [SentinelReport]?
    /// When the server's certificate ends, since 1970; nil where there is none.
    package var certificateEnd: Duration?
    /// What the names of keys and channels begin with, for the rules of a user.
    package var prefix = ""
    /// The fields of `INFO`; empty if the user may not ask.
    package var info: [String: String] = [:]
    /// Configuration parameters by name; those that the user may not ask for, or the server does not know, are missing.
    package var settings: [String: String] = [:]
    /// Commands that a worker needs and the server does not do for this user; nil where none was tried.
    package var refusedCommands: [String: Refusal]?
    /// Commands that a worker sends, or this package would like to, and the server does not do for this user, without
    /// which everything works.
    package var dispensableCommands: [String: Refusal] = [:]
    /// Whether the user may look for leases (`SCAN`); nil where it was not tried.
    package var mayScan: Bool?
    /// Why commands are not accepted that the user may send: MISCONF, OOM and the like.
    package var writeError: String?
    /// nil where none was tried, because nothing can be written.
    package var scripts: Scripts?
    package var inbox: Inbox?
    /// nil if the user may not ask for the time.
    package var clockOffset: ClockOffset?
    /// Round trips of PINGs, sorted.
    package var roundTrips: [Duration] = []

    package init() {}
}

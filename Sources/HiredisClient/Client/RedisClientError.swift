/// Why a command, or a connection, failed.
///
/// No description ever holds a secret.
package struct RedisClientError: Error, Sendable {
    /// What kind of failure it is.
    package struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String {
            case connectionFailed, authenticationFailed, misconfigured, replica, cluster, protocolViolation
            case notSent, outage, unknownOutcome, timedOut, replyTooLong, overloaded, shutDown, server
        }

        private let value: Value

        private init(_ value: Value) {
            self.value = value
        }

        package var description: String { value.rawValue }

        /// No connection could be made or kept.
        package static var connectionFailed: Code { Code(.connectionFailed) }
        /// The server did not accept the credentials, or they lack a permission that the connection itself needs.
        package static var authenticationFailed: Code { Code(.authenticationFailed) }
        /// What the client was told cannot be right, such as a name that no sentinel knows.
        package static var misconfigured: Code { Code(.misconfigured) }
        /// The server is not a primary.
        package static var replica: Code { Code(.replica) }
        /// The server is a node of a cluster, and was not expected to be.
        package static var cluster: Code { Code(.cluster) }
        /// The server sent what is not RESP, nobody asked for, or is beyond the limits.
        package static var protocolViolation: Code { Code(.protocolViolation) }
        /// There was no connection until the command's deadline; it was never sent.
        package static var notSent: Code { Code(.notSent) }
        /// There has been no connection for as long as a command may take; it was refused at once, and never sent.
        package static var outage: Code { Code(.outage) }
        /// The connection was lost after the command was handed to it.
        package static var unknownOutcome: Code { Code(.unknownOutcome) }
        /// The command was sent and not answered before its deadline.
        package static var timedOut: Code { Code(.timedOut) }
        /// A part of the answer is longer than is believed, or taken.
        package static var replyTooLong: Code { Code(.replyTooLong) }
        /// Too much waits to be sent already; the command was not accepted.
        package static var overloaded: Code { Code(.overloaded) }
        /// The client was shut down before the command was sent.
        package static var shutDown: Code { Code(.shutDown) }
        /// The server answered with an error, see ``RedisClientError/serverError``.
        package static var server: Code { Code(.server) }
    }

    package let code: Code
    package let message: String
    package let underlying: (any Error)?
    /// The server does not tell its role by the command for it. There is another way to ask.
    var refusesRole = false

    package init(_ code: Code, _ message: String, underlying: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.underlying = underlying
    }

    static let late = RedisClientError(.timedOut, "the server did not answer in time")

    /// Nothing can be sent or heard any more.
    static let eventLoopEnded = RedisClientError(.shutDown, "the event loop of the client has ended")

    /// The failure that an error reply is.
    package static func server(_ error: RedisServerError) -> RedisClientError {
        RedisClientError(.server, "the server answered with an error", underlying: error)
    }

    /// Time alone will not heal it: those who wait are told at once.
    var isLasting: Bool { code == .authenticationFailed || code == .misconfigured }

    /// The error reply at the root of this failure, if there was one.
    package var serverError: RedisServerError? {
        if let error = underlying as? RedisServerError { return error }
        return (underlying as? RedisClientError)?.serverError
    }

    /// Whether the server may have executed the command. `false` is certain; `true` is not.
    package var mayHaveExecuted: Bool {
        switch code {
        case .unknownOutcome, .timedOut, .replyTooLong: true
        case .server: !(serverError?.isRefusedBeforeExecution ?? false)
        default: false
        }
    }
}

extension RedisClientError: CustomStringConvertible {
    package var description: String {
        guard let underlying else { return "\(code): \(message)" }
        return "\(code): \(message) (\(underlying))"
    }
}

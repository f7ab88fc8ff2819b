import PrivateRedis
import SingleflightRedis

/// Why a command ends without success: one line for the user and the status for the shell.
package struct CommandFailure: Error, CustomStringConvertible, Sendable {
    package let status: ExitStatus
    /// One line that is safe to print: see ``ErrorLine``.
    package let description: String

    package init(_ message: String, status: ExitStatus = .failure) {
        self.description = ErrorLine.safe(message)
        self.status = status
    }
}

extension CommandFailure {
    /// What an error means to the user, where a command does not know better.
    ///
    /// Errors of a layer that knows its own status belong here, above the last line.
    package init(describing error: any Error) {
        switch error {
        case let failure as CommandFailure: self = failure
        case let error as LeaseStoreError where error.underlying is CancellationError:
            self.init("canceled", status: .canceled)
        case let error as PrivateRedisError: self.init(Self.oneLine("\(error)"), status: .unavailable)
        case let error as LeaseStoreError: self.init(Self.oneLine(error.message), status: Self.status(of: error))
        case is CancellationError: self.init("canceled", status: .canceled)
        default: self.init(Self.oneLine("\(error)"))
        }
    }

    private static func status(of error: LeaseStoreError) -> ExitStatus {
        switch error.code {
        case .invalidRequest: .usage
        case .refused: .refused
        // What does not speak the protocol is no Redis, or none that is of use.
        case .unavailable, .down, .timedOut, .protocolViolation: .unavailable
        default: .failure
        }
    }

    private static func oneLine(_ text: String) -> String {
        text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
}

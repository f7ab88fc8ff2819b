/// What the process tells the shell. The numbers are part of the command's interface.
package enum ExitStatus: Int32, Sendable {
    /// Everything went as asked.
    case success = 0
    /// Something went wrong that has no number of its own.
    case failure = 1
    /// What was asked for does not exist.
    case notFound = 2
    /// The command line makes no sense (`EX_USAGE`).
    case usage = 64
    /// Redis, or another thing that is needed, cannot be reached (`EX_UNAVAILABLE`).
    case unavailable = 69
    /// The flight was canceled or its lease lost; trying again may help (`EX_TEMPFAIL`).
    case canceled = 75
    /// The server refuses: wrong password, missing right (`EX_NOPERM`).
    case refused = 77
    /// It took longer than allowed (as `timeout(1)` does).
    case timeout = 124
    /// Ended by Ctrl-C: 128 + SIGINT.
    case interrupted = 130
    /// Ended by SIGTERM: 128 + SIGTERM.
    case terminated = 143
}

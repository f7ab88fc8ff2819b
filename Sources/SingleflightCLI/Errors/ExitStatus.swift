/// What the process tells the shell. The numbers are part of the command's interface; this is the one table of them.
package struct ExitStatus: RawRepresentable, Hashable, Sendable {
    package let rawValue: Int32

    package init(rawValue: Int32) { self.rawValue = rawValue }

    /// Everything went as asked.
    package static let success = Self(rawValue: 0)
    /// Something went wrong that has no number of its own.
    package static let failure = Self(rawValue: 1)
    /// What was asked for does not exist.
    package static let notFound = Self(rawValue: 2)
    /// The command line makes no sense (`EX_USAGE`).
    package static let usage = Self(rawValue: 64)
    /// Redis, or another thing that is needed, cannot be reached (`EX_UNAVAILABLE`).
    package static let unavailable = Self(rawValue: 69)
    /// The flight was canceled or its lease lost; trying again may help (`EX_TEMPFAIL`).
    package static let canceled = Self(rawValue: 75)
    /// The server refuses: wrong password, missing right (`EX_NOPERM`).
    package static let refused = Self(rawValue: 77)
    /// It took longer than allowed (as `timeout(1)` does).
    package static let timeout = Self(rawValue: 124)

    /// A signal ended it, as a shell tells it.
    package static func signal(_ number: Int32) -> Self { Self(rawValue: 128 + number) }

    package static let interrupted = signal(2)
    package static let terminated = signal(15)

    /// What the commands end with by themselves, as help and documentation say it.
    package static let table: [(status: ExitStatus, meaning: String)] = [
        (success, "ok"),
        (failure, "failure"),
        (notFound, "not found"),
        (usage, "usage: the command line makes no sense"),
        (unavailable, "Redis, or what else is needed, cannot be reached"),
        (canceled, "canceled, or the lease was lost; trying again may help"),
        (refused, "refused: password or rights"),
        (timeout, "it took longer than allowed"),
    ]

    /// The table for a command's help.
    package static var help: String {
        let rows = table.map { row in
            let number = "\(row.status.rawValue)"
            return "  " + String(repeating: " ", count: max(0, 3 - number.count)) + number + "  " + row.meaning
        }
        return (["Exit status:"] + rows + ["  128 and the number of the signal that ended it"]).joined(separator: "\n")
    }
}

import Foundation

/// The terminal that we are in the foreground of, to be lent to a command's process group: otherwise the command could
/// neither read from it nor hear Ctrl-C.
struct ControllingTerminal: Sendable {
    /// nil if standard input is no terminal, or somebody else has it.
    init?() {
        guard isatty(STDIN_FILENO) == 1, tcgetpgrp(STDIN_FILENO) == getpgrp() else { return nil }
        // A process that changes the foreground from the background is stopped by this signal, unless it ignores it.
        Foundation.signal(SIGTTOU, SIG_IGN)
    }

    /// Does nothing while somebody else has it.
    func lend(to group: pid_t) {
        if isLent(to: getpgrp()) { _ = tcsetpgrp(STDIN_FILENO, group) }
    }

    func takeBack() { _ = tcsetpgrp(STDIN_FILENO, getpgrp()) }

    func isLent(to group: pid_t) -> Bool { tcgetpgrp(STDIN_FILENO) == group }
}

import Foundation
import PrivateRedis

/// A process that leads a command's process group and ends the group when we are gone, even by SIGKILL.
///
/// It waits for the end of its standard input, a socket whose other end only we hold: the kernel closes it however we
/// end. It is there before the command, which is started into its group: there is no moment in which the command runs
/// unguarded. And as long as the guardian is not reaped, no other group can have the group's number.
struct Guardian: Sendable {
    private let reaper: Reaper
    private let lifeline: CInt

    /// Only SIGKILL ends it early; signals for the group pass it by.
    private static let script = """
        trap '' HUP INT QUIT TERM TSTP TTIN TTOU PIPE ALRM USR1 USR2
        read -r word || kill -KILL 0
        """

    /// The command's process group.
    var group: pid_t { reaper.id }

    /// - Throws: ``CommandFailure`` if it cannot be started, `PrivateRedisError` if there is no socket for it.
    init() throws {
        let sockets = try SocketPair()
        defer { sockets.closeChilds() }
        var plan = Spawn.Plan(
            executable: "/bin/sh",
            arguments: ["-c", Self.script],
            environment: [:],
            standardInput: sockets.childs,
            standardOutput: sockets.childs,
            standardError: sockets.childs
        )
        // Until the shell has set its traps.
        plan.blockedSignals = Spawn.allSignals
        switch Spawn.start(plan) {
        case .success(let id):
            reaper = Reaper(id: id)
            lifeline = sockets.ours
        case .failure(let failure):
            sockets.closeOurs()
            throw CommandFailure("cannot start /bin/sh: \(failure)")
        }
    }

    /// Sends the signal `number` to the group; false if the guardian has ended.
    @discardableResult
    func signal(_ number: Int32) -> Bool { reaper.signalGroup(number) }

    /// Lets the guardian go, without harm to what is left of its group, and waits until it has ended. To be called
    /// once.
    func dismiss() async {
        _ = write(lifeline, "done\n", 5)
        _ = close(lifeline)
        _ = await reaper.exit()
    }
}

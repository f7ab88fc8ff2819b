import Foundation
import NIOCore
import NIOPosix
import PrivateRedis

/// A child that is spoken to in lines over its standard input and output; its standard error is ours.
///
/// The child leads a process group of its own. Ctrl-C in a terminal then reaches only us, who end it in good order; and
/// should we be killed while the child is stopped, the kernel finds its group orphaned and ends it (SIGHUP, SIGCONT).
package final class ChildProcess: Sendable {
    package var id: Int32 { reaper.id }

    /// What the child says; ends when it closes its output.
    package var lines: AsyncStream<String> { channel.lines }

    private let channel: LineChannel
    private let reaper: Reaper

    /// Starts `executable` in our environment and `environment`, which wins, and is the place for secrets: arguments
    /// can be read by everybody on the machine.
    ///
    /// - Throws: ``CommandFailure`` if it cannot be started, `PrivateRedisError` if there is no socket for it.
    package init(_ executable: String, _ arguments: [String], environment: [String: String] = [:]) async throws {
        let sockets = try SocketPair()
        defer { sockets.closeChilds() }
        do {
            let id = try Spawn.start(
                executable,
                arguments,
                environment: ProcessInfo.processInfo.environment.merging(environment) { $1 },
                socket: sockets.childs
            )
            reaper = Reaper(id: id)
        } catch {
            sockets.closeOurs()
            throw error
        }
        do {
            channel = try await LineChannel(socket: sockets.ours)
        } catch {
            _ = reaper.signal(SIGKILL)
            throw error
        }
    }

    package func send(_ line: String) { channel.send(line) }

    /// The child sees the end of its input; what it still says is read.
    package func closeInput() { channel.closeOutput() }

    /// Sends the signal `number`; false if the process has ended already.
    @discardableResult
    package func signal(_ number: Int32) -> Bool { reaper.signal(number) }

    /// Freezes the process; returns when none of its threads runs any more.
    package func pause() async { await reaper.stop() }

    /// Waits until the process has ended. Deaf to cancellation, for use in cleaning up.
    package func exit() async -> ProcessExit { await reaper.exit() }

    /// Ends the process: by the end of its input, and by SIGKILL if that takes longer than `grace`.
    package func stop(grace: Duration = .seconds(2)) async {
        closeInput()
        signal(SIGCONT)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let killing = loop.scheduleTask(in: TimeAmount(grace)) { [reaper] in _ = reaper.signal(SIGKILL) }
        _ = await exit()
        killing.cancel()
    }

    /// The program that runs now, to start it once more in another role.
    package static func ownExecutable() throws -> String {
        #if os(Linux)
            if let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") { return path }
        #endif
        guard let path = Bundle.main.executablePath else { throw CommandFailure("cannot find the running program") }
        return path
    }
}

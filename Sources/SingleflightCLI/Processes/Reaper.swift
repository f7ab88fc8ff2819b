import Foundation
import Synchronization

/// How a process ended.
package enum ProcessExit: Equatable, Sendable, CustomStringConvertible {
    case code(Int32)
    case signal(Int32)

    package var description: String {
        switch self {
        case .code(let code): "exit status \(code)"
        case .signal(let number): "signal \(number)"
        }
    }
}

/// Waits for one process on a thread of its own: no other way works on every system and misses nothing.
final class Reaper: Sendable {
    let id: pid_t

    private enum State {
        case running(waiters: [CheckedContinuation<ProcessExit, Never>])
        case ended(ProcessExit)
    }

    private let state = Mutex(State.running(waiters: []))

    /// - Parameter onStop: called on a thread of its own with the signal that stopped the process, each time.
    init(id: pid_t, onStop: (@Sendable (Int32) -> Void)? = nil) {
        self.id = id
        Thread.detachNewThread { self.reap(onStop) }
    }

    func exit() async -> ProcessExit {
        await withCheckedContinuation { continuation in
            let ended: ProcessExit? = state.withLock { state in
                switch state {
                case .running(let waiters):
                    state = .running(waiters: waiters + [continuation])
                    return nil
                case .ended(let exit): return exit
                }
            }
            if let ended { continuation.resume(returning: ended) }
        }
    }

    /// Under the lock, because a reaped process's number may soon belong to another.
    func signal(_ number: Int32) -> Bool {
        state.withLock { state in
            switch state {
            case .running: kill(id, number) == 0
            case .ended: false
            }
        }
    }

    /// Stops the process, and returns once all of it has stopped, or has ended. Must not be used along with `onStop`.
    func stop() async {
        guard signal(SIGSTOP) else { return }
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                // Another thread waits for the end, which WNOWAIT leaves to it; the news of the stop is taken.
                var info = siginfo_t()
                while waitid(P_PID, id_t(self.id), &info, WSTOPPED | WEXITED | WNOWAIT) != 0, errno == EINTR {}
                if info.si_code == CLD_STOPPED { waitid(P_PID, id_t(self.id), &info, WSTOPPED | WNOHANG) }
                continuation.resume()
            }
        }
    }

    /// Sends the signal `number` to the process group that the process leads; false if the process has ended already.
    func signalGroup(_ number: Int32) -> Bool {
        state.withLock { state in
            switch state {
            case .running: kill(-id, number) == 0
            case .ended: false
            }
        }
    }

    private func reap(_ onStop: (@Sendable (Int32) -> Void)?) {
        // Waits without reaping, so that the number stays ours until the lock is held.
        var info = siginfo_t()
        let events = WEXITED | WNOWAIT | (onStop == nil ? 0 : WSTOPPED)
        while true {
            if waitid(P_PID, id_t(id), &info, events) != 0 {
                if errno == EINTR { continue }
                break
            }
            guard info.si_code == CLD_STOPPED, let onStop else { break }
            // Takes the news of the stop, which WNOWAIT has left where it was; fails if the process goes on already.
            var stop = siginfo_t()
            guard waitid(P_PID, id_t(id), &stop, WSTOPPED | WNOHANG) == 0, stop.si_code == CLD_STOPPED else { continue }
            onStop(Self.stopSignal(stop))
        }
        let (exit, waiters) = state.withLock { state in
            var status: Int32 = 0
            while waitpid(id, &status, 0) == -1, errno == EINTR {}
            let exit = Self.decode(status)
            switch state {
            case .running(let waiters):
                state = .ended(exit)
                return (exit, waiters)
            case .ended: return (exit, [])
            }
        }
        for waiter in waiters { waiter.resume(returning: exit) }
    }

    private static func stopSignal(_ info: siginfo_t) -> Int32 {
        #if canImport(Darwin)
            info.si_status
        #else
            info._sifields._sigchld.si_status
        #endif
    }

    /// WIFEXITED and its relatives are macros that Swift does not see.
    private static func decode(_ status: Int32) -> ProcessExit {
        let signal = status & 0x7F
        return signal == 0 ? .code((status >> 8) & 0xFF) : .signal(signal)
    }
}

import Foundation
import SingleflightRedis
import TestSupport
import Testing

extension ProcessSuites {
    @Suite("exec, followed live")
    struct ExecLiveTests {
        private static let script = "echo one; echo two >&2; echo three; cat \"$0\"; echo four; exit 7"

        /// The output so far of a process that writes into a file.
        private static func start(
            _ stage: ExecStage,
            _ name: String,
            _ words: String
        ) throws -> ToolProcess {
            let tool = "'\(try Tool.path)' \(words)"
            return try stage.start(program: "/bin/sh", ["-c", "exec \(tool) > '\(stage.directory)/\(name)' 2>&1"])
        }

        @Test("a follower prints the output as it comes, also what came before, and ends with the status")
        func live() async throws {
            try await ExecStage.with { stage in
                let gate = try stage.fifo("gate")
                // Its two streams are one, so that their order is that of the command.
                let leader = try Self.start(stage, "leader", "exec job -- /bin/sh -c '\(Self.script)' '\(gate.path)'")
                let opened = try await Self.opened(gate)
                let early = try Self.start(stage, "early", "exec --follow live job -- false")
                let waiting = try Self.start(stage, "waiting", "wait job --group exec --follow")
                try await stage.untilFile("early", holds: "one\ntwo\nthree\n")
                try await stage.untilFile("waiting", holds: "one\ntwo\nthree\n")
                try opened.write(contentsOf: Data("between\n".utf8))
                try await stage.untilFile("early", holds: "one\ntwo\nthree\nbetween\n")
                let late = try Self.start(stage, "late", "exec --follow live job -- false")
                try await stage.untilFile("late", holds: "one\ntwo\nthree\nbetween\n")
                try opened.close()
                #expect(try await leader.result.status == 7)
                for (process, name) in [(early, "early"), (waiting, "waiting"), (late, "late")] {
                    #expect(try await process.result.status == 7, "\(name)")
                    let text = try String(contentsOfFile: "\(stage.directory)/\(name)", encoding: .utf8)
                    #expect(text.hasPrefix("one\ntwo\nthree\nbetween\nfour\n"), "\(name)")
                }
            }
        }

        @Test("where another host runs the command anew, that is said, and its output begins again")
        func anew() async throws {
            try await ExecStage.with { stage in
                let (first, second) = (try stage.fifo("first"), try stage.fifo("second"))
                let options = ["exec", "--lease", "1s", "--takeover", "--follow", "live", "job", "--", "/bin/sh", "-c"]
                let script = "echo begun; cat \"$0\"; echo done"
                let leader = try stage.start(options + [script, first.path])
                let hold = try await Self.opened(first)
                let words = "exec --lease 1s --takeover --follow live job -- /bin/sh -c '\(script)' '\(second.path)'"
                let follower = try Self.start(stage, "follower", words)
                try await stage.untilFile("follower", holds: "begun\n")
                leader.stop()
                let other = try await Self.opened(second)
                try other.close()
                #expect(try await follower.result.status == 0)
                let text = try String(contentsOfFile: "\(stage.directory)/follower", encoding: .utf8)
                let note = "singleflight: 'job' runs anew: what it printed before does not count\n"
                #expect(text == "begun\n\(note)begun\ndone\n")
                try hold.close()
            }
        }

        /// A FIFO whose reader has come; it reads until the handle is closed.
        private static func opened(_ fifo: Fifo) async throws -> FileHandle {
            try await onThread {
                guard let handle = FileHandle(forWritingAtPath: fifo.path) else { throw POSIXError(.ENOENT) }
                // Processes that are started later must not keep it open.
                _ = fcntl(handle.fileDescriptor, F_SETFD, FD_CLOEXEC)
                return handle
            }
        }
    }
}

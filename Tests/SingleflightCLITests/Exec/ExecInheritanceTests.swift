import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@testable import SingleflightCLI

extension ProcessSuites {
    /// What a process was given by the one that started it harms neither the command nor any other of our commands.
    @Suite("exec and what it was started with")
    struct ExecInheritanceTests {
        /// Before that a signal ends a process by itself, or meets the shell that has started it.
        private func untilCatching(_ number: Int32, _ process: ToolProcess) async throws {
            try await until("process \(process.id) to catch signal \(number)") {
                let status = try String(contentsOfFile: "/proc/\(process.id)/status", encoding: .utf8)
                let line = status.split(separator: "\n").first { $0.hasPrefix("SigCgt:") }
                return line.flatMap { UInt64($0.suffix(16), radix: 16) }.map { $0 & (1 << (number - 1)) != 0 } ?? false
            }
        }

        @Test("where SIGCHLD is ignored, followers get the command's own status, too")
        func ignoredSIGCHLD() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let script = "echo up > \(up.path); read word < \(go.path); exit 7"
                let start = "trap '' CHLD; exec '\(try Tool.path)' exec job -- /bin/sh -c '\(script)'"
                let leader = try stage.start(program: "/bin/bash", ["-c", start])
                #expect(try await up.read() == "up\n")
                let follower = try stage.exec(script: "true")
                try await stage.untilWaiters(1)
                try await go.write("\n")
                #expect(try await results(of: [leader, follower]).map(\.status) == [7, 7])
            }
        }

        @Test("signals that were blocked are blocked for the command, and those that were not are not")
        func blockedSignals() async throws {
            try await ExecStage.with { stage in
                for blocked in [[SIGUSR1, SIGTERM], []] {
                    let output = "\(stage.directory)/status"
                    let words = [try Tool.path, "exec", "job", "--", "cp", "/proc/self/status", output]
                    var plan = Spawn.Plan(
                        executable: words[0],
                        arguments: Array(words.dropFirst()),
                        environment: ["SINGLEFLIGHT_URL": stage.redis.url, "PATH": "/usr/bin:/bin"]
                    )
                    plan.blockedSignals = blocked
                    let exit = await Reaper(id: try Spawn.start(plan).get()).exit()
                    #expect(exit == .code(0))
                    let line = try #require(stage.lines("status").first { $0.hasPrefix("SigBlk:") })
                    let mask = try #require(UInt64(line.suffix(16), radix: 16))
                    #expect(mask == blocked.reduce(0) { $0 | 1 << (UInt64($1) - 1) })
                }
            }
        }

        @Test("nohup is respected by every command that catches signals", arguments: [["watch"], ["wait", "job"]])
        func nohup(_ command: [String]) async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let leader = try stage.exec(script: "echo up > \(up.path); read word < \(go.path)")
                #expect(try await up.read() == "up\n")
                let words = "trap '' HUP; exec '\(try Tool.path)' \(command.joined(separator: " "))"
                let process = try stage.start(program: "/bin/sh", ["-c", words])
                try await untilCatching(SIGTERM, process)
                process.signal(SIGHUP)
                process.signal(SIGTERM)
                // Were it SIGHUP that had ended it, this would be 129.
                #expect(try await process.result.status == 143)
                try await go.write("\n")
                _ = try await leader.result
            }
        }

        @Test("every command runs with descriptors 0 to 2 closed")
        func closedDescriptors() async throws {
            try await ExecStage.with { stage in
                for (command, status) in [("leases", Int32(0)), ("wait job", 2), ("show job", 2), ("help", 0)] {
                    let words = "exec '\(try Tool.path)' \(command) <&- >&- 2>&-"
                    let result = try await stage.start(program: "/bin/sh", ["-c", words]).result
                    #expect(result.status == status, "\(command)")
                }
            }
        }

        @Test("a signal before there is a flight ends it at once, without a word")
        func earlySignal() async throws {
            try await ExecStage.with { stage in
                let process = try stage.start(["exec", "--jitter", "1h", "job", "--", "true"])
                try await untilCatching(SIGTERM, process)
                process.signal(SIGTERM)
                let result = try await process.result
                #expect((result.status, result.messages) == (143, ""))
            }
        }

        @Test("exec knows what is text and what is bytes: keys that differ in a byte are two, and can be pasted back")
        func keysOfBytes() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let tool = try Tool.path
                func bash(_ script: String) throws -> ToolProcess {
                    try stage.start(program: "/bin/bash", ["-c", script])
                }
                let script = "printf %s \"$SINGLEFLIGHT_KEY\"; echo up > \(up.path); read word < \(go.path)"
                let leader = try bash("'\(tool)' exec $'k\\xff' -- sh -c '\(script)'")
                #expect(try await up.read() == "up\n")
                // Another key: it does not wait.
                #expect(try await bash("'\(tool)' exec $'k\\xfe' -- echo other").result.text == "other\n")

                let listed = try await stage.start(["leases"]).result.text.split(separator: "\n").last ?? ""
                let word = try #require(listed.split(separator: " ").first)
                #expect(word == "$'k\\xff'")
                let shown = try await bash("'\(tool)' show \(word) --output json").result
                #expect(shown.text.contains("\"keyBase64\" : \"\(Data([0x6B, 0xFF]).base64EncodedString())\""))
                let unknown = try await bash("'\(tool)' show $'k\\xfd\\n'").result
                #expect(unknown.messages == "singleflight: nobody leads $'k\\xfd\\n'\n")

                let waiting = try bash("'\(tool)' wait \(word)")
                try await until("a process that waits") {
                    let key = try FlightKey(group: "exec", bytes: [0x6B, 0xFF])
                    return try await stage.store.answer(to: InspectRequest(key: key)).get().waiters.count == 1
                }
                try await go.write("\n")
                #expect(try await leader.result.output == Data([0x6B, 0xFF]))
                #expect(try await waiting.result.output == Data([0x6B, 0xFF]))
            }
        }

        @Test("revoke ends the flight of a key of bytes")
        func revokeBytes() async throws {
            try await ExecStage.with { stage in
                let up = try stage.fifo("up")
                let script = "'\(try Tool.path)' exec $'k\\xff' -- sh -c 'echo up > \(up.path); sleep 60'"
                let leader = try stage.start(program: "/bin/bash", ["-c", script])
                #expect(try await up.read() == "up\n")
                let revoke = "'\(try Tool.path)' revoke $'k\\xff' --yes"
                #expect(try await stage.start(program: "/bin/bash", ["-c", revoke]).result.status == 0)
                #expect(try await leader.result.status == 75)
            }
        }
    }
}

import Foundation
import PrivateRedis
import Testing

extension ProcessSuites {
    /// What docs/exec.md promises of the command and of its surroundings.
    @Suite("exec to the letter")
    struct ExecClauseTests {
        @Test("no shell comes between: the command gets its words as they are")
        func noShell() async throws {
            try await ExecStage.with { stage in
                let words = ["$HOME", "*", "a  b", "; exit 9", "`id`", "", "--flag", "two\nlines", "👩‍👧"]
                let result = try await stage.start(["exec", "job", "--", "/usr/bin/printf", "[%s]"] + words).result
                #expect(result.status == 0)
                #expect(result.text == words.map { "[\($0)]" }.joined())
            }
        }

        @Test("the command runs in a process group that is neither ours nor its own to lead")
        func processGroup() async throws {
            try await ExecStage.with { stage in
                let script = "read a b c d group rest < /proc/self/stat; echo $$ $PPID $group"
                let process = try stage.exec(script: script)
                let numbers = try await process.result.text.split(whereSeparator: \.isWhitespace).compactMap {
                    Int32($0)
                }
                try #require(numbers.count == 3)
                #expect(numbers[1] == process.id)
                #expect(numbers[2] != numbers[0] && numbers[2] != process.id && numbers[2] != getpgrp())
            }
        }

        @Test("what followers print comes in the order in which it came, over both streams")
        func order() async throws {
            try await ExecStage.with { stage in
                let (second, third) = (try stage.fifo("second"), try stage.fifo("third"))
                let script = """
                    echo one; read word < \(second.path); echo two >&2; read word < \(third.path); echo three
                    """
                // Both streams of each go into one file, as after 2>&1.
                let tool = try Tool.path
                func merged(_ name: String) throws -> ToolProcess {
                    let inner = "exec '\(tool)' exec job -- sh -c '\(script)' > \(stage.directory)/\(name) 2>&1"
                    return try stage.start(program: "/bin/sh", ["-c", inner])
                }
                let leader = try merged("leader")
                // What is read is written at once: the next line is only printed then.
                try await stage.untilFile("leader", holds: "one\n")
                let follower = try merged("follower")
                try await stage.untilWaiters(1)
                try await second.write("\n")
                try await stage.untilFile("leader", holds: "one\ntwo\n")
                try await third.write("\n")
                #expect(try await results(of: [leader, follower]).map(\.status) == [0, 0])
                for name in ["leader", "follower"] {
                    #expect(stage.lines(name) == ["one", "two", "three"])
                }
            }
        }

        @Test("a lease that is gone from Redis ends the command at the next renewal, with 75")
        func vanishedLease() async throws {
            try await ExecStage.with { stage in
                let (up, gone) = (try stage.fifo("up"), try stage.fifo("gone"))
                let script =
                    "trap 'echo told > \(gone.path); exit 9' TERM; echo up > \(up.path); while :; do sleep 0.01; done"
                let process = try stage.exec("--lease", "1s", script: script)
                #expect(try await up.read() == "up\n")
                try await stage.redis.command("FLUSHALL")
                #expect(try await gone.read() == "told\n")
                let result = try await process.result
                #expect(result.status == 75)
                #expect(result.messages.contains("'job' was canceled"))
            }
        }

        @Test("a Redis that stops answering ends the command when the lease does, as nobody can know who leads by now")
        func silentRedis() async throws {
            try await ExecStage.with { stage in
                let (up, gone) = (try stage.fifo("up"), try stage.fifo("gone"))
                let script =
                    "trap 'echo told > \(gone.path); exit 9' TERM; echo up > \(up.path); while :; do sleep 0.01; done"
                let process = try stage.exec("--lease", "1s", script: script)
                #expect(try await up.read() == "up\n")
                stage.redis.pause()
                defer { stage.redis.resume() }
                #expect(try await gone.read() == "told\n")
                let result = try await process.result
                #expect(result.status == 75)
                #expect(result.messages.contains("singleflight: 'job' was canceled: the leader's lease expired\n"))
            }
        }

        @Test("at a terminal the command reads what is typed, and Ctrl-C is for it")
        func terminal() async throws {
            try await ExecStage.with { stage in
                let arguments = ["exec", "job", "--url", stage.redis.url, "--", "/bin/sh", "-c"]
                let reading = try Pty(arguments + ["read word; echo got $word"])
                reading.type("this\n")
                try await reading.until("got this")
                #expect(await reading.exit() == 0)

                let interrupted = try Pty(
                    arguments + ["trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.01; done"]
                )
                try await interrupted.until("up")
                interrupted.type("\u{3}")
                #expect(await interrupted.exit() == 3)
                #expect(interrupted.output.contains("caught"))
                #expect(interrupted.modes == interrupted.originalModes)
            }
        }

        @Test("what followers have on their standard input is not read")
        func followersInput() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let script = "echo up > \(up.path); read word < \(go.path); cat"
                let leader = try stage.exec(script: script)
                #expect(try await up.read() == "up\n")
                // The shell's `read` after the follower gets what the follower left.
                let tool = try Tool.path
                let (ours, shells) = try ExecStage.input()
                let inner = "'\(tool)' exec job -- true; read line; echo \"left: $line\""
                let follower = try stage.start(program: "/bin/sh", ["-c", inner], input: shells)
                try ours.write(contentsOf: Data("for me\n".utf8))
                try await stage.untilWaiters(1)
                try await go.write("\n")
                #expect(try await leader.result.text == "")
                #expect(try await follower.result.text == "left: for me\n")
                try ours.close()
            }
        }

        @Test("with --takeover-limit 1 the second loss is the end, for everybody")
        func takeoverLimit() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let script = "echo ran >> \(stage.directory)/runs; echo $PPID > \(up.path); read word < \(go.path)"
                let options = [
                    "exec", "--lease", "1s", "--takeover", "--takeover-limit", "1", "job", "--", "sh", "-c", script,
                ]
                let processes = try (0..<3).map { _ in try stage.start(options) }
                for waiters in [2, 1] {
                    let leader = Int32(try await up.read().dropLast()) ?? 0
                    try await stage.untilWaiters(waiters)
                    kill(leader, SIGKILL)
                }
                #expect(try await results(of: processes).map(\.status).sorted() == [75, 137, 137])
                #expect(stage.lines("runs").count == 2)
            }
        }

        @Test("wait ends with 75 when the flight is revoked, and with 69 when Redis does not answer any more")
        func waiting() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let leader = try stage.exec("--lease", "2s", script: "echo up > \(up.path); read word < \(go.path)")
                #expect(try await up.read() == "up\n")
                let silenced = try stage.start(["wait", "job", "--group", "exec"])
                try await stage.untilWaiters(1)
                stage.redis.pause()
                #expect(try await silenced.result.status == 69)
                stage.redis.resume()
                _ = try await leader.result

                let next = try stage.exec(script: "echo up > \(up.path); read word < \(go.path)")
                #expect(try await up.read() == "up\n")
                let waiting = try stage.start(["wait", "job", "--group", "exec"])
                try await stage.untilWaiters(1)
                #expect(try await stage.start(["revoke", "job", "--yes"]).result.status == 0)
                #expect(try await results(of: [waiting, next]).map(\.status) == [75, 75])
            }
        }
    }
}

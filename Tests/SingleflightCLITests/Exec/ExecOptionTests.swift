import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@testable import SingleflightCLI

extension ProcessSuites {
    @Suite("what exec can be asked for")
    struct ExecOptionTests {
        private func runs(_ stage: ExecStage) -> Int { stage.lines("runs").count }

        // MARK: Nested use

        @Test("a run that is part of another, over any number of steps, is refused instead of waiting for itself")
        func nesting() async throws {
            try await ExecStage.with { stage in
                let tool = try Tool.path
                for inner in ["exec a -- true", "exec b -- '\(tool)' exec a -- true", "wait a --group exec"] {
                    let result = try await stage.start(["exec", "a", "--", "sh", "-c", "'\(tool)' \(inner)"]).result
                    #expect(result.status == 64, "\(inner)")
                    let message = "this is part of the run of 'a': it would wait for itself"
                    #expect(result.messages == "singleflight: \(message)\n")
                }
            }
        }

        @Test("what a command left behind may run it again when that run is over")
        func daemon() async throws {
            try await ExecStage.with { stage in
                let (go, done) = (try stage.fifo("go"), try stage.fifo("done"))
                let daemon = "read word < \(go.path); '\(try Tool.path)' exec job -- echo again > \(done.path) 2>&1"
                let first = try await stage.exec(script: "(\(daemon)) > /dev/null 2>&1 & echo first").result
                #expect(first.text == "first\n")
                try await go.write("\n")
                #expect(try await done.read() == "again\n")
            }
        }

        // MARK: If it runs already

        @Test("--if-running skip does not wait, and ends with --skip-status", arguments: [[], ["--skip-status", "9"]])
        func skip(_ options: [String]) async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let leader = try stage.exec(script: "echo up > \(up.path); read word < \(go.path)")
                #expect(try await up.read() == "up\n")
                let skipping = ["exec", "--if-running", "skip"] + options + ["job", "--", "sh", "-c", "exit 3"]
                let result = try await stage.start(skipping).result
                #expect(result.status == (options.isEmpty ? 0 : 9))
                #expect(result.messages.contains("'job' runs already, by ") && result.messages.hasSuffix("; skipped\n"))
                try await go.write("\n")
                #expect(try await leader.result.status == 0)
                // Nobody runs it: there is nothing to skip for.
                #expect(try await stage.start(skipping).result.status == 3)
                // Both runs are known afterwards, and that somebody went away from the first.
                let last = try await stage.start(["last", "job", "--output", "json"]).result
                let history = try JSONDecoder().decode(RunHistory.self, from: Data(last.output))
                #expect(history.runs.map(\.status) == [3, 0])
                #expect(history.runs.map(\.skips) == [0, 1])
                #expect(history.runs.allSatisfy { $0.leader.contains(" sh") })
            }
        }

        @Test("of many that come at once with --if-running skip one runs, and nobody waits")
        func skipTogether() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let script = "echo ran >> \(stage.directory)/runs; echo up > \(up.path); read word < \(go.path); exit 5"
                let processes = try (0..<4).map { _ in
                    try stage.exec("--if-running", "skip", "--skip-status", "9", script: script)
                }
                #expect(try await up.read() == "up\n")
                // Three end while the fourth is held.
                try await untilEnded(3, of: processes)
                try await go.write("\n")
                #expect(try await results(of: processes).map(\.status).sorted() == [5, 9, 9, 9])
                #expect(runs(stage) == 1)
            }
        }

        private func untilEnded(_ count: Int, of processes: [ToolProcess]) async throws {
            let (endings, continuation) = AsyncStream.makeStream(of: Void.self)
            for process in processes {
                Task {
                    _ = try? await process.result
                    continuation.yield()
                }
            }
            var ended = endings.makeAsyncIterator()
            for _ in 0..<count { _ = await ended.next() }
        }

        @Test("--if-running replace ends the run of somebody else, whose callers end with 75, and runs")
        func replace() async throws {
            try await ExecStage.with { stage in
                let up = try stage.fifo("up")
                let old = try stage.exec(script: "echo up > \(up.path); while :; do sleep 0.01; done")
                #expect(try await up.read() == "up\n")
                let result = try await stage.exec("--if-running", "replace", script: "echo mine").result
                #expect((result.status, result.text) == (0, "mine\n"))
                let ended = try await old.result
                #expect(ended.status == 75)
                #expect(ended.messages.hasSuffix(": replaced by another run\n"))
            }
        }

        // MARK: Limits

        @Test("after --timeout the command is ended, and everybody is told and ends with 124")
        func timeout() async throws {
            try await ExecStage.with { stage in
                let up = try stage.fifo("up")
                let script = "echo begun; echo up > \(up.path); while :; do sleep 0.01; done"
                let leader = try stage.exec("--timeout", "2s", script: script)
                #expect(try await up.read() == "up\n")
                let follower = try stage.exec(script: "true")
                for result in try await results(of: [leader, follower]) {
                    #expect(result.status == 124)
                    #expect(result.text == "begun\n")
                    #expect(result.messages.hasPrefix("singleflight: 'job' ran for longer than 2.0 s and was ended\n"))
                }
            }
        }

        @Test("--output-limit bounds what is shared, and a truncated output has a status of its own if asked")
        func outputLimit() async throws {
            try await ExecStage.with { stage in
                let options = ["exec", "--output-limit", "1k", "--reuse", "1m"]
                let command = ["job", "--", "head", "-c", "3000", "/dev/zero"]
                let leader = try await stage.start(options + command).result
                #expect((leader.status, leader.output.count) == (0, 3000))
                let later = try await stage.start(options + ["--truncated-status", "99"] + command).result
                #expect((later.status, later.output.count) == (99, 1024 - 5))
                #expect(
                    later.messages
                        == "singleflight: the output is longer than 1 KiB; who shares it gets its beginning\n"
                )
            }
        }

        // MARK: Sharing

        @Test("--reuse is for successes, --reuse-failures for failures")
        func reuseFailures() async throws {
            try await ExecStage.with { stage in
                let script = "echo ran >> \(stage.directory)/runs; echo printed; exit 3"
                for count in 1...2 {
                    #expect(try await stage.exec("--reuse", "1m", script: script).result.status == 3)
                    #expect(runs(stage) == count)
                }
                for _ in 1...2 {
                    let result = try await stage.exec("--reuse-failures", "1m", script: script).result
                    #expect((result.status, result.text) == (3, "printed\n"))
                    #expect(runs(stage) == 3)
                }
            }
        }

        @Test("nobody is given a result that is older than a later one, nor longer than --reuse said")
        func newestResult() async throws {
            try await ExecStage.with { stage in
                #expect(try await stage.exec("--reuse", "1m", script: "echo old").result.text == "old\n")
                let shown = try await stage.start(["show", "job", "--output", "json"]).result.text
                let digits = try #require(shown.firstMatch(of: /"reuseMilliseconds" : (\d+)/)).1
                #expect(try #require(Int(digits)) <= 60_000)
                #expect(try await stage.exec(script: "echo new").result.text == "new\n")
                #expect(try await stage.exec("--reuse", "1s", script: "echo newest").result.text == "newest\n")
            }
        }

        @Test("the time that a result is still reused for is that of --reuse, not that of its retention")
        func shownReuse() async throws {
            try await ExecStage.with { stage in
                #expect(try await stage.exec("--reuse", "20s", script: "echo it").result.status == 0)
                let shown = try await stage.start(["show", "job", "--output", "json"]).result.text
                let digits = try #require(shown.firstMatch(of: /"reuseMilliseconds" : (\d+)/)).1
                #expect(try #require(Int(digits)) <= 20_000)
            }
        }

        @Test("--per runs once in a slot, whatever comes of it, and shares the result until the slot ends")
        func slots() async throws {
            try await ExecStage.with { stage in
                let script = "echo ran >> \(stage.directory)/runs; echo report; exit 4"
                // Midnight may come in between, once.
                var counts: [Int] = []
                for _ in 0..<2 {
                    try? FileManager.default.removeItem(atPath: "\(stage.directory)/runs")
                    let processes = try (0..<3).map { _ in try stage.exec("--per", "day", script: script) }
                    for result in try await results(of: processes) {
                        #expect((result.status, result.text) == (4, "report\n"))
                    }
                    counts.append(runs(stage))
                }
                #expect(counts.contains { $0 <= 1 } && counts.allSatisfy { $0 <= 2 })
            }
        }

        @Test("--follow quiet prints nothing of what others run, and ends with its status")
        func quiet() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let script = "echo up > \(up.path); read word < \(go.path); echo loud; echo loud >&2; exit 6"
                let leader = try stage.exec("--follow", "quiet", script: script)
                #expect(try await up.read() == "up\n")
                let follower = try stage.exec("--follow", "quiet", script: script)
                try await stage.untilWaiters(1)
                try await go.write("\n")
                let (loud, quiet) = (try await leader.result, try await follower.result)
                #expect((loud.status, loud.text, loud.messages) == (6, "loud\n", "loud\n"))
                #expect((quiet.status, quiet.text, quiet.messages) == (6, "", ""))
            }
        }

        @Test("who is given the run of another command is told so")
        func otherCommand() async throws {
            try await ExecStage.with { stage in
                #expect(
                    try await stage.start(["exec", "--reuse", "1m", "job", "--", "echo", "one"]).result.status == 0
                )
                let same = try await stage.start(["exec", "--reuse", "1m", "job", "--", "echo", "one"]).result
                #expect(same.messages == "")
                let other = try await stage.start(["exec", "--reuse", "1m", "job", "--", "printf", "one"]).result
                #expect(other.text == "one\n")
                let message = "'job' was the run of another command, echo; the one of this call, printf, did not run"
                #expect(other.messages == "singleflight: \(message)\n")
                let words = try await stage.start(["exec", "--reuse", "1m", "job", "--", "echo", "two"]).result
                let told = "'job' was the run of echo with other arguments; the one of this call, echo, did not run"
                #expect(words.messages == "singleflight: \(told)\n")
            }
        }

        @Test("a follower at a terminal is told whom it waits for, and since when")
        func waitingFor() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let leader = try stage.exec(script: "echo up > \(up.path); read word < \(go.path); echo over")
                #expect(try await up.read() == "up\n")
                let environment = ["SINGLEFLIGHT_URL": stage.redis.url, "SINGLEFLIGHT_NAMESPACE": ExecStage.namespace]
                let pty = try Pty(["exec", "job", "--", "true"], columns: 200, environment: environment)
                try await pty.until("waiting for 'job', which runs by ", " sh since ")
                try await go.write("\n")
                #expect(await pty.exit() == 0)
                _ = try await leader.result
            }
        }

        // MARK: What the command and others see

        @Test("the lease shows user and command, and arguments only if asked", arguments: [false, true])
        func label(_ showsArguments: Bool) async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let script = "echo up > \(up.path); read word < \(go.path)"
                let process = try stage.start(
                    ["exec"] + (showsArguments ? ["--show-arguments"] : []) + ["job", "--", "/bin/sh", "-c", script]
                )
                #expect(try await up.read() == "up\n")
                let label = try #require(try await stage.store.leases().first).lease.note.label
                #expect(label.hasPrefix("\(NSUserName())@"))
                #expect(label.contains(showsArguments ? "/bin/sh -c echo" : " sh"))
                #expect(label.contains("echo") == showsArguments)
                try await go.write("\n")
                _ = try await process.result
            }
        }

        @Test("the command is part of a trace: the caller's, or one that is named like the run")
        func trace() async throws {
            try await ExecStage.with { stage in
                let script = "echo ${SINGLEFLIGHT_ENCLOSING%%:*} $TRACEPARENT"
                let own = try await stage.start(["exec", "job", "--", "sh", "-c", script]).result
                let words = own.text.split(whereSeparator: \.isWhitespace)
                try #require(words.count == 2)
                #expect(words[1] == "00-\(words[0])-\(words[0].prefix(16))-01")
                let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
                let given = try await stage.start(
                    program: "/usr/bin/env",
                    ["TRACEPARENT=\(parent)", try Tool.path, "exec", "job", "--", "sh", "-c", "echo $TRACEPARENT"]
                ).result
                #expect(given.text == parent + "\n")
            }
        }

        @Test("the command gets no password, unless asked")
        func password() async throws {
            try await PrivateRedis.with(.init(password: "sec ret")) { redis in
                let url = "redis+unix://:sec%20ret@\(try #require(redis.socketPath))"
                for (options, text) in [([], "redis+unix://\(redis.socketPath ?? "")"), (["--pass-password"], url)] {
                    let run = try await Tool.run(
                        ["exec"] + options + ["job", "--", "sh", "-c", "echo $SINGLEFLIGHT_URL"],
                        environment: ["SINGLEFLIGHT_URL": url]
                    )
                    #expect((run.status, run.output, run.messages) == (0, text + "\n", ""))
                }
            }
        }

        @Test("a command that ended well before Redis went away has its status, or 69 where coordination is required")
        func untold() async throws {
            for (options, status) in [([], Int32(0)), (["--require-coordination"], 69)] {
                try await ExecStage.with { stage in
                    let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                    let words = ["exec", "--lease", "30s"] + options + ["job", "--", "sh", "-c"]
                    let process = try stage.start(words + ["echo up > \(up.path); read word < \(go.path)"])
                    #expect(try await up.read() == "up\n")
                    await stage.redis.kill()
                    try await go.write("\n")
                    let result = try await process.result
                    #expect(result.status == status)
                    #expect(result.messages.contains("the command ended with status 0, but Redis cannot be told: "))
                    #expect(result.messages.contains("warning: ") == options.isEmpty)
                }
            }
        }
    }
}

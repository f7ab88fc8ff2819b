import Foundation
import PrivateRedis
import Testing

extension ProcessSuites {
    /// The built command against a real Redis. Scripts and tests meet at FIFOs.
    @Suite("exec shares a command's run")
    struct ExecTests {
        @Test("ten processes at once run the command once and get the same output on both streams and the same status")
        func herd() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let script = """
                    echo ran >> \(stage.directory)/runs
                    echo first; echo problem >&2; echo up > \(up.path); read word < \(go.path); echo "second $word"; exit 7
                    """
                let processes = try (0..<10).map { _ in try stage.exec(script: script) }
                #expect(try await up.read() == "up\n")
                try await stage.untilWaiters(9)
                try await go.write("go\n")
                for result in try await results(of: processes) {
                    #expect(result.status == 7)
                    #expect(result.text == "first\nsecond go\n")
                    #expect(result.messages == "problem\n")
                }
                #expect(stage.lines("runs") == ["ran"])
            }
        }

        @Test("followers get every byte as it was, in order")
        func bytes() async throws {
            try await ExecStage.with { stage in
                let all = Data((0..<3_000).map { UInt8(truncatingIfNeeded: $0) })
                try all.write(to: URL(fileURLWithPath: "\(stage.directory)/bytes"))
                let go = try stage.fifo("go")
                let script = "read word < \(go.path); cat \(stage.directory)/bytes"
                let processes = try (0..<2).map { _ in try stage.exec(script: script) }
                try await stage.untilWaiters(1)
                try await go.write("go\n")
                for result in try await results(of: processes) { #expect(result.output == all) }
            }
        }

        @Test("a death by signal is shared as a shell would tell it")
        func signalDeath() async throws {
            try await ExecStage.with { stage in
                let go = try stage.fifo("go")
                let processes = try (0..<2).map { _ in try stage.exec(script: "read word < \(go.path); kill -KILL $$") }
                try await stage.untilWaiters(1)
                try await go.write("go\n")
                #expect(try await results(of: processes).map(\.status) == [137, 137])
            }
        }

        @Test(
            "a command that cannot be run is a result: 127 if there is none, 126 otherwise",
            arguments: [("no-such-command-anywhere", Int32(127)), ("/no/such/path", 127), ("/etc/passwd", 126)]
        )
        func notRun(_ command: String, _ status: Int32) async throws {
            try await ExecStage.with { stage in
                let words = ["exec", "job", "--reuse-failures", "1m", "--", command]
                let result = try await stage.start(words).result
                let follower = try await stage.start(words).result
                for result in [result, follower] {
                    #expect(result.status == status)
                    #expect(result.messages.hasPrefix("singleflight: cannot run \(command): "))
                }
            }
        }

        @Test("who comes within --reuse after the end gets the same result, and who asks in another group does not")
        func reuse() async throws {
            try await ExecStage.with { stage in
                let script = "echo ran >> \(stage.directory)/runs; echo result"
                for _ in 0..<2 {
                    let result = try await stage.exec("--reuse", "1m", script: script).result
                    #expect((result.status, result.text) == (0, "result\n"))
                }
                #expect(stage.lines("runs").count == 1)
                #expect(try await stage.exec("--group", "other", "--reuse", "1m", script: script).result.status == 0)
                #expect(stage.lines("runs").count == 2)
            }
        }

        @Test("a follower gives up after --wait with 124, and the run goes on for the others")
        func patience() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let leader = try stage.exec("--wait", "1s", script: "echo up > \(up.path); read word < \(go.path)")
                #expect(try await up.read() == "up\n")
                // It starts to wait later and waits for longer: the leader's patience is over before its own.
                let follower = try await stage.exec("--wait", "1100ms", script: "true").result
                #expect(follower.status == 124)
                #expect(follower.messages == "singleflight: 'job' was not done within 1.1 s\n")
                try await go.write("go\n")
                #expect(try await leader.result.status == 0)
            }
        }

        @Test("of 10 MiB everybody who follows gets the first 8, all are told, and the leader shows all of it")
        func truncation() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let script = "echo up > \(up.path); read word < \(go.path); head -c 10485760 /dev/zero; echo late >&2"
                let leader = try stage.exec(script: script)
                #expect(try await up.read() == "up\n")
                let follower = try stage.exec(script: script)
                try await stage.untilWaiters(1)
                try await go.write("go\n")
                let note = "singleflight: the output is longer than 8 MiB; who shares it gets its beginning\n"
                let (all, part) = (try await leader.result, try await follower.result)
                #expect(all.output.count == 10 << 20)
                #expect(all.messages == "late\n" + note)
                #expect(part.output.count == (8 << 20) - 5)
                #expect(part.messages == note)
                #expect((all.status, part.status) == (0, 0))
            }
        }

        @Test("standard input goes to the command, and an output that is no socket can be opened anew")
        func input() async throws {
            try await ExecStage.with { stage in
                let (ours, commands) = try ExecStage.input()
                let process = try stage.exec(
                    script: "cat > /dev/stdout; echo end > /dev/stderr",
                    input: commands
                )
                try ours.write(contentsOf: Data("one\ntwo".utf8))
                try commands.close()
                try ours.close()
                let result = try await process.result
                #expect(result.text == "one\ntwo")
                #expect(result.messages == "end\n")
            }
        }

        @Test("the command knows its key, its namespace and a fence that grows from run to run")
        func environment() async throws {
            try await ExecStage.with { stage in
                let key = "a {b}\n🛫"
                var fences: [Int64] = []
                for _ in 0..<2 {
                    let variables = "$SINGLEFLIGHT_FENCE $SINGLEFLIGHT_NAMESPACE $SINGLEFLIGHT_KEY"
                    let result = try await stage.start(["exec", key, "--", "sh", "-c", "echo \"\(variables)\""]).result
                    let words = result.text.split(separator: " ", maxSplits: 1)
                    fences.append(Int64(words[0]) ?? -1)
                    #expect(words[1] == "\(ExecStage.namespace) \(key)\n")
                }
                #expect(fences[0] > 0)
                #expect(fences[1] > fences[0])
            }
        }

        @Test("a process that the command leaves in the background is not waited for, and not ended")
        func background() async throws {
            try await ExecStage.with { stage in
                let (go, done) = (try stage.fifo("go"), try stage.fifo("done"))
                let process = try stage.exec(
                    script: "(trap '' PIPE; read word < \(go.path); echo \"$word\" > \(done.path)) & echo over"
                )
                let result = try await process.result
                #expect((result.status, result.text) == (0, "over\n"))
                try await go.write("still here\n")
                #expect(try await done.read() == "still here\n")
            }
        }

        @Test("a command that asks for its own key is told so instead of waiting for itself")
        func reentrancy() async throws {
            try await ExecStage.with { stage in
                let tool = try Tool.path
                let result = try await stage.exec(script: "exec \(tool) exec job -- true").result
                #expect(result.status == 64)
                #expect(result.messages.contains("it would wait for itself"))
            }
        }

        @Test(
            "without a command, or without --, nothing is run",
            arguments: [["job"], ["job", "true"], ["job", "--"]]
        )
        func usage(_ arguments: [String]) async throws {
            let result = try await ToolProcess(["exec"] + arguments, environment: [:], input: .nullDevice).result
            #expect(result.status == 64)
        }
    }
}

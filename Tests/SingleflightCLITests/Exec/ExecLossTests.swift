import Foundation
import PrivateRedis
import TestSupport
import Testing

extension ProcessSuites {
    @Suite("exec ends well")
    struct ExecLossTests {
        /// Announces itself, keeps a FIFO open as long as any of its processes lives, and waits for a word.
        private func script(_ stage: ExecStage, _ up: Fifo, _ alive: Fifo, _ go: Fifo, prelude: String = "") -> String {
            """
            \(prelude)
            exec 9> \(alive.path)
            echo ran >> \(stage.directory)/runs
            (cat \(go.path) > /dev/null; true) &
            echo $PPID > \(up.path)
            read word < \(go.path); echo "done $word"
            """
        }

        @Test(
            "when the leader is killed its command is killed with it, and the others end with 75 as soon as the lease does"
        )
        func killedLeader() async throws {
            try await ExecStage.with { stage in
                let (up, alive, go) = (try stage.fifo("up"), try stage.fifo("alive"), try stage.fifo("go"))
                let script = script(stage, up, alive, go)
                let processes = try (0..<3).map { _ in try stage.exec("--lease", "1s", script: script) }
                async let gone = alive.read()
                let leader = Int32(try await up.read().dropLast()) ?? 0
                try await stage.untilWaiters(2)
                let clock = ContinuousClock()
                let killed = clock.now
                kill(leader, SIGKILL)
                // The end of everything that the script was: nobody is left to write.
                #expect(try await gone.isEmpty)
                #expect(killed.duration(to: clock.now) < .milliseconds(500))
                let ended = try await results(of: processes)
                #expect(killed.duration(to: clock.now) < .milliseconds(1500))
                #expect(ended.map(\.status).sorted() == [75, 75, 137])
                for result in ended where result.status == 75 {
                    #expect(result.messages == "singleflight: 'job' was canceled: the leader's lease expired\n")
                }
                #expect(stage.lines("runs").count == 1)
            }
        }

        @Test("with --takeover exactly one of the others runs the command again")
        func takeover() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let script = """
                    echo ran >> \(stage.directory)/runs; echo $PPID > \(up.path); read word < \(go.path); echo "done $word"
                    """
                let processes = try (0..<3).map { _ in try stage.exec("--lease", "1s", "--takeover", script: script) }
                let leader = Int32(try await up.read().dropLast()) ?? 0
                try await stage.untilWaiters(2)
                kill(leader, SIGKILL)
                let successor = Int32(try await up.read().dropLast()) ?? 0
                #expect(successor != leader)
                try await go.write("again\n")
                let ended = try await results(of: processes)
                #expect(ended.map(\.status).sorted() == [0, 0, 137])
                for result in ended where result.status == 0 { #expect(result.text == "done again\n") }
                #expect(stage.lines("runs").count == 2)
            }
        }

        @Test("revoked in the middle, everybody ends with 75, and no process of the command is left")
        func revocation() async throws {
            try await ExecStage.with { stage in
                let (up, alive, go) = (try stage.fifo("up"), try stage.fifo("alive"), try stage.fifo("go"))
                let processes = try (0..<3).map { _ in try stage.exec(script: script(stage, up, alive, go)) }
                async let gone = alive.read()
                _ = try await up.read()
                try await stage.untilWaiters(2)
                let revoke = try await stage.start(["revoke", "job", "--yes", "--reason", "no more"]).result
                #expect(revoke.status == 0)
                #expect(revoke.text.contains("and 2 processes that waited"))
                #expect(try await gone.isEmpty)
                for result in try await results(of: processes) {
                    #expect(result.status == 75)
                    #expect(result.messages.hasPrefix("singleflight: 'job' was canceled: revoked by "))
                    #expect(result.messages.hasSuffix(": no more\n"))
                }
            }
        }

        @Test("a command that ignores SIGTERM is killed after --kill-after, with everything it has started")
        func stubborn() async throws {
            try await ExecStage.with { stage in
                let (up, alive, go) = (try stage.fifo("up"), try stage.fifo("alive"), try stage.fifo("go"))
                let script = script(stage, up, alive, go, prelude: "trap '' TERM")
                let process = try stage.exec("--kill-after", "200ms", script: script)
                async let gone = alive.read()
                _ = try await up.read()
                let start = ContinuousClock.now
                #expect(try await stage.start(["revoke", "job", "--yes"]).result.status == 0)
                #expect(try await gone.isEmpty)
                #expect(start.duration(to: .now) >= .milliseconds(200))
                #expect(try await process.result.status == 75)
            }
        }

        @Test("processes whose command is gone already keep the grace to end in good order")
        func graceForDescendants() async throws {
            try await ExecStage.with { stage in
                let (up, last) = (try stage.fifo("up"), try stage.fifo("last"))
                // The shell dies of SIGTERM at once; what it started cleans up first.
                let script = """
                    sh -c 'trap "echo cleaned > \(last.path); exit" TERM; echo up > \(up.path); while :; do sleep 0.01; done' &
                    wait
                    """
                let process = try stage.exec(script: script)
                #expect(try await up.read() == "up\n")
                #expect(try await stage.start(["revoke", "job", "--yes"]).result.status == 0)
                #expect(try await last.read() == "cleaned\n")
                #expect(try await process.result.status == 75)
            }
        }

        @Test(
            "signals go to the command, which decides what they mean",
            arguments: [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2]
        )
        func forwarding(_ number: Int32) async throws {
            try await ExecStage.with { stage in
                let up = try stage.fifo("up")
                // `read` on standard input, which is a pipe that nobody writes into, is what a trap interrupts.
                let (ours, commands) = try ExecStage.input()
                let process = try stage.exec(
                    script: "trap 'echo caught; exit 42' \(number); echo up > \(up.path); read word",
                    input: commands
                )
                #expect(try await up.read() == "up\n")
                process.signal(number)
                let result = try await process.result
                #expect((result.status, result.text) == (42, "caught\n"))
                try ours.close()
            }
        }

        @Test("a signal that the command does not catch ends it, and that is the shared status")
        func uncaught() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let leader = try stage.exec(script: "echo up > \(up.path); cat \(go.path)")
                #expect(try await up.read() == "up\n")
                let follower = try stage.exec(script: "true")
                try await stage.untilWaiters(1)
                leader.signal(SIGTERM)
                #expect(try await results(of: [leader, follower]).map(\.status) == [143, 143])
            }
        }

        @Test(
            "a follower that is told to end leaves at once, and the run goes on",
            arguments: [SIGINT, SIGTERM, SIGHUP]
        )
        func leavingFollower(_ number: Int32) async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let leader = try stage.exec(script: "echo up > \(up.path); read word < \(go.path); echo \"$word\"")
                #expect(try await up.read() == "up\n")
                let follower = try stage.exec(script: "true")
                try await stage.untilWaiters(1)
                follower.signal(number)
                #expect(try await follower.result.status == 128 + number)
                try await go.write("on\n")
                #expect(try await leader.result.text == "on\n")
            }
        }

        #if os(Linux)
            @Test("stopped by SIGTSTP the command stops, too, and goes on when we do")
            func stopping() async throws {
                try await ExecStage.with { stage in
                    let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                    let process = try stage.exec(script: "echo $$ > \(up.path); read word < \(go.path); echo \"$word\"")
                    let command = try await up.read().dropLast()
                    process.signal(SIGTSTP)
                    // The kernel tells only parents; others have to look.
                    for id in ["\(command)", "\(process.id)"] {
                        try await until("process \(id) to stand still") { try processState(of: id) == "T" }
                    }
                    process.signal(SIGCONT)
                    try await go.write("on\n")
                    #expect(try await process.result.text == "on\n")
                }
            }
        #endif

        @Test("with Redis down nothing is run and the status is 69")
        func redisDown() async throws {
            try await ExecStage.with { stage in
                await stage.redis.stop()
                let result = try await stage.exec("--lease", "1s", script: "echo ran").result
                #expect(result.status == 69)
                #expect(result.text.isEmpty)
                #expect(result.messages.split(separator: "\n").count == 1)
            }
        }

        @Test("with Redis down and --run-anyway the command runs, says so, and has no fence")
        func runAnyway() async throws {
            try await ExecStage.with { stage in
                await stage.redis.stop()
                let script = "echo \"ran ${SINGLEFLIGHT_FENCE-without}\"; exit 5"
                let result = try await stage.exec("--lease", "1s", "--run-anyway", script: script).result
                #expect((result.status, result.text) == (5, "ran without\n"))
                #expect(result.messages.contains("without coordination"))
            }
        }

        @Test("a wrong password is 77, also with --run-anyway")
        func refused() async throws {
            let redis = try await PrivateRedis.start(.init(password: "secret"))
            let url = redis.url.replacing("secret", with: "wrong")
            let result = try await ToolProcess(
                ["exec", "--lease", "1s", "--run-anyway", "job", "--", "echo", "ran"],
                environment: ["SINGLEFLIGHT_URL": url],
                input: .nullDevice
            ).result
            await redis.stop()
            #expect(result.status == 77)
            #expect(result.text.isEmpty)
            #expect(!result.messages.contains("wrong@"))
        }
    }
}

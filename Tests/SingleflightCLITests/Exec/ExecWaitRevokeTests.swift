import Foundation
import PrivateRedis
import SingleflightRedis
import Testing

extension ProcessSuites {
    @Suite("wait and revoke")
    struct ExecWaitRevokeTests {
        private struct Broken: Error, CustomStringConvertible { let description = "the disk is full" }

        /// Leads `key` in this process; the operation ends when the result is taken from the stream.
        private func lead<Value: Sendable>(
            _ group: DistributedGroup<String, Value>,
            key: String = "job"
        ) async -> (result: AsyncStream<Result<Value, Broken>>.Continuation, call: Task<Void, Never>) {
            let (results, continuation) = AsyncStream.makeStream(of: Result<Value, Broken>.self)
            let (started, startedContinuation) = AsyncStream.makeStream(of: Void.self)
            let call = Task {
                _ = await group.run(key) { _ in
                    startedContinuation.yield()
                    for await result in results { return try result.get() }
                    throw CancellationError()
                }
            }
            _ = await started.first { _ in true }
            return (continuation, call)
        }

        @Test("wait prints the bytes of the flight's value as they are")
        func value() async throws {
            try await ExecStage.with { stage in
                let flight = await lead(try DistributedGroup<String, [UInt8]>("blobs", store: stage.store))
                let wait = try stage.start(["wait", "job"])
                try await stage.untilWaiters(1, group: "blobs")
                flight.result.yield(.success([0, 255, 10, 128]))
                let result = try await wait.result
                #expect(result.status == 0)
                #expect(result.output == Data([0, 255, 10, 128]))
                await flight.call.value
            }
        }

        @Test("wait prints a JSON value as text, with a newline behind it")
        func json() async throws {
            try await ExecStage.with { stage in
                let flight = await lead(try DistributedGroup<String, [String: Int]>("pages", store: stage.store))
                let wait = try stage.start(["wait", "job", "--group", "pages"])
                try await stage.untilWaiters(1, group: "pages")
                flight.result.yield(.success(["hits": 3]))
                #expect(try await wait.result.text == "{\"hits\":3}\n")
                await flight.call.value
            }
        }

        @Test("wait says why a flight failed and ends with 1")
        func failure() async throws {
            try await ExecStage.with { stage in
                let flight = await lead(try DistributedGroup<String, [UInt8]>("blobs", store: stage.store))
                let wait = try stage.start(["wait", "job"])
                try await stage.untilWaiters(1, group: "blobs")
                flight.result.yield(.failure(Broken()))
                let result = try await wait.result
                #expect(result.status == 1)
                #expect(result.output.isEmpty)
                #expect(result.messages.hasPrefix("singleflight: 'job' failed in the test: "))
                #expect(result.messages.hasSuffix("the disk is full\n"))
                await flight.call.value
            }
        }

        @Test("wait prints what a command prints, and ends with its status")
        func command() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let script = "echo up > \(up.path); read word < \(go.path); echo out; echo problem >&2; exit 9"
                let leader = try stage.exec(script: script)
                #expect(try await up.read() == "up\n")
                let wait = try stage.start(["wait", "job"])
                try await stage.untilWaiters(1)
                try await go.write("go\n")
                let result = try await wait.result
                #expect((result.status, result.text, result.messages) == (9, "out\n", "problem\n"))
                #expect(try await leader.result.status == 9)
            }
        }

        @Test("wait gives up with 124 after --timeout, and the flight goes on")
        func timeout() async throws {
            try await ExecStage.with { stage in
                let flight = await lead(try DistributedGroup<String, [UInt8]>("blobs", store: stage.store))
                let result = try await stage.start(["wait", "job", "--timeout", "50ms"]).result
                #expect(result.status == 124)
                let wait = try stage.start(["wait", "job"])
                try await stage.untilWaiters(1, group: "blobs")
                flight.result.yield(.success([1]))
                #expect(try await wait.result.status == 0)
                await flight.call.value
            }
        }

        @Test("wait neither ends nor leads a flight that can be taken over: it follows the one that takes over")
        func takeover() async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let script = "echo $PPID > \(up.path); read word < \(go.path); echo \"$word\""
                let processes = try (0..<2).map { _ in try stage.exec("--lease", "1s", "--takeover", script: script) }
                let leader = Int32(try await up.read().dropLast()) ?? 0
                let wait = try stage.start(["wait", "job"])
                try await stage.untilWaiters(2)
                kill(leader, SIGKILL)
                _ = try await up.read()
                try await go.write("taken\n")
                let result = try await wait.result
                #expect((result.status, result.text) == (0, "taken\n"))
                _ = try await results(of: processes)
            }
        }

        @Test("nobody leads: wait and revoke end with 2", arguments: [["wait"], ["revoke", "--yes"]])
        func nobody(_ words: [String]) async throws {
            try await ExecStage.with { stage in
                for group in [[], ["--group", "exec"]] {
                    let result = try await stage.start(words + ["a b\n🛫"] + group).result
                    #expect(result.status == 2)
                    #expect(result.messages == "singleflight: nobody leads 'a b\\n🛫'\n")
                }
            }
        }

        @Test("a key that several groups lead is not guessed at", arguments: [["wait"], ["revoke", "--yes"]])
        func several(_ words: [String]) async throws {
            try await ExecStage.with { stage in
                let one = await lead(try DistributedGroup<String, [UInt8]>("one", store: stage.store))
                let two = await lead(try DistributedGroup<String, [UInt8]>("two", store: stage.store))
                let result = try await stage.start(words + ["job"]).result
                #expect(result.status == 64)
                #expect(result.messages.hasSuffix("--group: one, two\n"))
                for flight in [one, two] {
                    flight.result.yield(.success([]))
                    await flight.call.value
                }
            }
        }

        @Test("revoke without --yes and without a terminal ends nothing")
        func unconfirmed() async throws {
            try await ExecStage.with { stage in
                let flight = await lead(try DistributedGroup<String, [UInt8]>("blobs", store: stage.store))
                #expect(try await stage.start(["revoke", "job"]).result.status == 64)
                let leases = try await stage.store.leases()
                #expect(leases.count == 1)
                flight.result.yield(.success([]))
                await flight.call.value
            }
        }

        @Test("revoke under another token ends nothing, and under the right one says in JSON what it ended")
        func token() async throws {
            try await ExecStage.with { stage in
                let flight = await lead(
                    try DistributedGroup<String, [UInt8]>("blobs", store: stage.store),
                    key: "k {1}"
                )
                let token = try #require(try await stage.store.leases().first).lease.token.description
                let other = token.hasPrefix("0000") ? "1111" : "0000"
                #expect(try await stage.start(["revoke", "k {1}", "--yes", "--token", other]).result.status == 2)
                #expect(try await stage.store.leases().count == 1)
                let arguments = ["revoke", "k {1}", "--yes", "--token", String(token.prefix(8)), "--output", "json"]
                let result = try await stage.start(arguments).result
                let report = try JSONDecoder().decode(Report.self, from: result.output)
                #expect((report.key, report.group, report.token, report.waiters) == ("k {1}", "blobs", token, 0))
                #expect(report.leader == "the test")
                #expect(report.by.contains("@"))
                await flight.call.value
            }
        }

        /// It was kept for ten seconds, however long the lease: who missed the announcement asked when it was gone.
        @Test("a revocation is kept for longer than the lease that it ends")
        func retention() async throws {
            try await ExecStage.with { stage in
                let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(60)))
                let flight = await lead(
                    try DistributedGroup<String, [UInt8]>("blobs", store: stage.store, configuration: configuration)
                )
                #expect(try await stage.start(["revoke", "job", "--yes"]).result.status == 0)
                await flight.call.value
                let script = "return redis.call('PTTL', redis.call('KEYS', '*:done:blobs:job:*')[1])"
                let reply = try await stage.redis.command("EVAL", script, "0")
                let left = try #require(Int(reply.filter(\.isNumber)), "\(reply)")
                #expect(left > 60_000)
            }
        }

        private struct Report: Decodable {
            let key, group, token, leader, by, reason: String
            let waiters: Int
        }

        @Test("their help shows examples", arguments: ["exec", "wait", "revoke"])
        func help(_ command: String) async throws {
            let run = try await Tool.run(command, "--help")
            #expect(run.status == 0)
            #expect(run.output.contains("  singleflight \(command) "))
        }
    }
}

import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

/// The built command with a URL that names sentinels.
@Suite("The command, with sentinels", .usesServer, .serialized, .timeLimit(.minutes(4)))
struct SentinelToolTests {
    @Test("looks, runs, waits and watches where the sentinels say, also when that changes")
    func commands() async throws {
        try await PrivateSentinels.with { deployment in
            let url = deployment.url
            let configuration = RedisLeaseStoreConfiguration(
                label: "worker-1",
                commandTimeout: .seconds(3),
                publishesEvents: true
            )
            try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { store in
                let pty = try Pty(["watch", "--url", url])
                try await pty.until("watching namespace default")
                let flight = try await HeldFlight(store, key: "front")
                try await pty.until("acquired")

                let leases = try await Tool.run("leases", "--url", url)
                #expect(leases.status == 0 && leases.output.contains("worker-1"), "\(leases.messages)")
                let shown = try await Tool.run("show", "front", "--url", url)
                #expect(shown.status == 0 && shown.output.contains("worker-1"), "\(shown.messages)")
                let run = try await Tool.run("exec", "--url", url, "job", "--", "echo", "done")
                #expect(run.status == 0 && run.output == "done\n", "\(run.messages)")

                try await deployment.failOver()
                await flight.complete()
                // The watcher has moved with the primary.
                try await pty.until("connection to Redis is lost", "events may have been missed")
                try await HeldFlight(store, key: "later").complete()
                try await pty.until("later")
                pty.type("\u{3}")
                #expect(await pty.exit() == 0)
                let after = try await Tool.run("exec", "--url", url, "job", "--", "echo", "again")
                #expect(after.status == 0 && after.output == "again\n", "\(after.messages)")
            }
        }
    }

    @Test("doctor says which primary the sentinels name, their quorum, and which of them is down or ignorant")
    func doctor() async throws {
        try await PrivateSentinels.with { deployment in
            let well = try await Tool.run("doctor", "--url", deployment.url)
            let primary = try #require(deployment.servers[0].port)
            #expect(well.output.contains("3 of 3 answer"), "\(well.output) \(well.messages)")
            #expect(well.output.contains("127.0.0.1:\(primary)"))
            #expect(well.output.contains("2 of 3 sentinels, 2 replicas"))

            // A server stands where a sentinel should, and one sentinel is down.
            await deployment.sentinels[0].kill()
            let some = [deployment.sentinels[0], deployment.servers[0], deployment.sentinels[1]]
            let ill = try await Tool.run("doctor", "--url", deployment.url(of: some))
            #expect(ill.output.contains("1 of 3 answer"), "\(ill.output) \(ill.messages)")
            #expect(ill.output.contains("is no sentinel: is the port right?"))

            let name = try await Tool.run("doctor", "--url", deployment.url(of: deployment.sentinels, name: "mian"))
            #expect(name.output.contains("no sentinel knows a primary of this name"), "\(name.output)")
            #expect(name.status != 0)

            let replica = try await Tool.run("doctor", "--url", deployment.servers[1].url)
            #expect(replica.output.contains("replica of 127.0.0.1:\(primary)"), "\(replica.output)")
        }
    }

    @Test("a wrong name is one line that says what to do")
    func wrongName() async throws {
        var configuration = PrivateSentinels.Configuration()
        (configuration.replicas, configuration.sentinels) = (0, 1)
        try await PrivateSentinels.with(configuration) { deployment in
            let run = try await Tool.run("leases", "--url", deployment.url(of: deployment.sentinels, name: "mian"))
            #expect(run.status == 64)
            #expect(run.messages.split(separator: "\n").count == 1)
            #expect(run.messages.contains("no primary named 'mian': check the name in the URL"), "\(run.messages)")
        }
    }
}

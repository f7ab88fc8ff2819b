import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@testable import SingleflightCLI

@Suite("singleflight top", .usesServer, .timeLimit(.minutes(4)))
struct TopTests {
    @Test("it shows a flight that a process leads, quits by q, and leaves the terminal as it was")
    func quits() async throws {
        try await withWorker { redis, store in
            let flight = try await HeldFlight(store, key: "front page {👩‍👧}\n")
            let pty = try Pty(["top", "--interval", "50ms", "--url", redis.url])
            let modes = pty.originalModes
            try await pty.until("\u{1B}[?1049h", #"front page {👩‍👧}\n"#, "worker-1", "1 lease")
            #expect(pty.modes != modes)
            pty.type("q")
            #expect(await pty.exit() == 0)
            #expect(pty.modes == modes)
            try await pty.until("\u{1B}[?25h\u{1B}[?1049l")
            await flight.complete()
        }
    }

    @Test(
        "it leaves the terminal as it was when a signal ends it",
        arguments: [SIGTERM, SIGINT, SIGHUP],
        [[SIGTERM: 143, SIGINT: 0, SIGHUP: 129] as [Int32: Int32]]
    )
    func signaled(_ number: Int32, _ statuses: [Int32: Int32]) async throws {
        try await withWorker { redis, _ in
            let pty = try Pty(["top", "--interval", "50ms", "--url", redis.url])
            let modes = pty.originalModes
            try await pty.until("0 leases")
            pty.signal(number)
            #expect(await pty.exit() == statuses[number])
            #expect(pty.modes == modes)
            try await pty.until("\u{1B}[?1049l")
        }
    }

    @Test("it leaves the terminal as it was even when it crashes", arguments: [SIGILL, SIGTRAP, SIGABRT, SIGSEGV])
    func crashed(_ number: Int32) async throws {
        try await withWorker { redis, _ in
            let pty = try Pty(["top", "--interval", "50ms", "--url", redis.url])
            let modes = pty.originalModes
            try await pty.until("0 leases")
            pty.signal(number)
            #expect(await pty.exit() == 128 + number)
            #expect(pty.modes == modes)
            #expect(pty.output.hasSuffix("\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l"))
        }
    }

    @Test("Ctrl-Z gives the terminal back, and whoever continues it gets the screen again")
    func suspended() async throws {
        try await withWorker { redis, _ in
            let command = "'\(try Tool.path)' top --interval 50ms --url '\(redis.url)'"
            let pty = try Pty(["--norc", "-i"], executable: "/bin/bash", environment: ["PS1": "$ "])
            try await pty.until("$ ")
            pty.type(command + "\n")
            try await pty.until("\u{1B}[?1049h", "0 leases")
            pty.forget()
            pty.type("\u{1A}")
            try await pty.until("\u{1B}[?1049l", "Stopped", "$ ")
            pty.forget()
            pty.type("fg; echo ended $?\n")
            try await pty.until("\u{1B}[?1049h", "0 leases")
            pty.type("q")
            try await pty.until("ended 0")
            pty.type("exit\n")
            #expect(await pty.exit() == 0)
        }
    }

    @Test("Ctrl-C is a key like q")
    func interrupted() async throws {
        try await withWorker { redis, _ in
            let pty = try Pty(["top", "--url", redis.url])
            try await pty.until("0 leases")
            pty.type("\u{3}")
            #expect(await pty.exit() == 0)
        }
    }

    @Test("it draws anew when the terminal's size changes, not only at the next interval")
    func resized() async throws {
        try await withWorker { redis, store in
            let flight = try await HeldFlight(store, key: "front")
            let pty = try Pty(["top", "--interval", "1h", "--url", redis.url], columns: 60)
            try await pty.until("front")
            #expect(!pty.output.contains("GROUP"))
            pty.resize(columns: 120, rows: 40)
            try await pty.until("GROUP", "TOKEN")
            pty.type("q")
            #expect(await pty.exit() == 0)
            await flight.complete()
        }
    }

    @Test("events give the pace and the coalesced share")
    func pace() async throws {
        try await withWorker { redis, store in
            let pty = try Pty(["top", "--interval", "50ms", "--url", redis.url])
            try await pty.until("no events")
            try await HeldFlight(store, key: "front").complete()
            try await pty.until("0 % coalesced", "wake-up ", ", p99 ")
            pty.type("q")
            #expect(await pty.exit() == 0)
        }
    }

    @Test("events of keys that are not asked for do not count")
    func otherKeys() async throws {
        try await withWorker { redis, store in
            let pty = try Pty(["top", "user:*", "--interval", "50ms", "--url", redis.url])
            try await pty.until("no events")
            try await HeldFlight(store, key: "page:1").complete()
            for _ in 0..<2 {
                pty.forget()
                try await pty.until("no events")
            }
            try await HeldFlight(store, key: "user:1").complete()
            try await pty.until("0 % coalesced")
            pty.type("q")
            #expect(await pty.exit() == 0)
        }
    }

    @Test("what a leader reports of its progress is a bar, in top and in watch")
    func progress() async throws {
        try await withWorker { redis, store in
            // Reported with the renewal, a third of the lease later.
            let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(3), grace: .seconds(10)))
            let group = try DistributedGroup<String, String>("pages", store: store, configuration: configuration)
            let (ended, end) = AsyncStream.makeStream(of: Void.self)
            let watch = try Pty(["watch", "--url", redis.url])
            try await watch.until("watching namespace default")
            let caller = Task {
                _ = await group.run("front") { flight in
                    flight.report(progress: FlightProgress(fraction: 0.62, message: "reading"))
                    for await _ in ended {}
                    return ""
                }
            }
            let top = try Pty(["top", "--interval", "50ms", "--url", redis.url], columns: 100)
            try await top.until("█████░░░ 62 % reading")
            try await watch.until("renewed", "█████░░░ 62 % reading")
            end.finish()
            await caller.value
            top.type("q")
            watch.type("\u{3}")
            #expect(await top.exit() == 0)
            #expect(await watch.exit() == 0)
        }
    }

    @Test("a Redis that goes away is told on the screen, and its return ends that")
    func outage() async throws {
        try await withWorker { redis, _ in
            let pty = try Pty(["top", "--interval", "50ms", "--url", redis.url], columns: 100)
            try await pty.until("0 leases")
            await redis.stop()
            try await pty.until("connect")
            pty.forget()
            try await redis.restart()
            try await pty.until("0 leases")
            pty.type("q")
            #expect(await pty.exit() == 0)
        }
    }

    @Test("without a terminal it refuses in one line", arguments: [["top"], ["leases", "--watch"]])
    func refused(_ arguments: [String]) async throws {
        let run = try await Tool.run(arguments)
        #expect(run.status == 64)
        #expect(run.output.isEmpty)
        #expect(run.messages.split(separator: "\n").count == 1)
    }

    @Test("leases --watch shows the list live and sorts it by keys")
    func leases() async throws {
        try await withWorker { redis, store in
            let flight = try await HeldFlight(store, key: "front")
            let pty = try Pty(["leases", "--watch", "--url", redis.url])
            try await pty.until("front", "[key]")
            #expect(!pty.output.contains("flights/s"))
            pty.type("a")
            try await pty.until("[age]")
            pty.type("q")
            #expect(await pty.exit() == 0)
            await flight.complete()
        }
    }
}

import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("singleflight watch", .usesServer, .timeLimit(.minutes(4)))
struct WatchTests {
    @Test("events appear on the terminal as they happen, in color, and Ctrl-C ends it with success")
    func terminal() async throws {
        try await withWorker { redis, store in
            let pty = try Pty(["watch", "--url", redis.url])
            let modes = pty.originalModes
            try await pty.until("watching namespace default")
            try await HeldFlight(store, key: "front page\n{👩‍👧}").complete()
            try await pty.until("acquired", "completed", #"pages:front page\n{👩‍👧}"#, "worker-1", "\u{1B}[32m")
            pty.type("\u{3}")
            #expect(await pty.exit() == 0)
            #expect(pty.modes == modes)
        }
    }

    @Test("what runs already is told first, and then how it ends")
    func running() async throws {
        try await withWorker { redis, store in
            let flight = try await HeldFlight(store, key: "front")
            let pty = try Pty(["watch", "--url", redis.url])
            try await pty.until("running", "pages:front", "worker-1")
            await flight.complete()
            try await pty.until("completed")
            #expect(!pty.output.contains("acquired"))
            pty.type("\u{3}")
            #expect(await pty.exit() == 0)
        }
    }

    @Test("what runs already is not looked for with --no-running")
    func notRunning() async throws {
        try await withWorker { redis, store in
            let flight = try await HeldFlight(store, key: "front")
            let pty = try Pty(["watch", "--no-running", "--url", redis.url])
            try await pty.until("watching namespace default")
            await flight.complete()
            try await pty.until("completed")
            #expect(!pty.output.contains("running"))
            pty.type("\u{3}")
            #expect(await pty.exit() == 0)
        }
    }

    @Test("a user who may not look for leases is told so, and hears of events all the same")
    func noScan() async throws {
        try await PrivateRedis.with(.init(users: ["viewer on >pw ~* &* +@all -scan"])) { redis in
            let configuration = RedisLeaseStoreConfiguration(label: "worker-1", publishesEvents: true)
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: configuration) { store in
                let socket = try #require(redis.socketPath)
                let pty = try Pty(["watch", "--url", "redis+unix://viewer:pw@\(socket)"], columns: 200)
                try await pty.until("which flights run cannot be told", "+scan")
                try await HeldFlight(store, key: "front").complete()
                try await pty.until("completed")
                pty.type("\u{3}")
                #expect(await pty.exit() == 0)
            }
        }
    }

    @Test("NO_COLOR is honored")
    func noColor() async throws {
        try await withWorker { redis, store in
            let pty = try Pty(["watch", "--url", redis.url], environment: ["NO_COLOR": "1"])
            try await pty.until("watching namespace default")
            try await HeldFlight(store, key: "front").complete()
            try await pty.until("completed")
            #expect(!pty.output.contains("\u{1B}["))
            pty.signal(SIGTERM)
            #expect(await pty.exit() == 143)
        }
    }

    @Test("only keys that match are shown")
    func pattern() async throws {
        try await withWorker { redis, store in
            let pty = try Pty(["watch", "user:*", "--url", redis.url])
            try await pty.until("watching namespace default")
            try await HeldFlight(store, key: "page:1").complete()
            try await HeldFlight(store, key: "user:1").complete()
            try await pty.until("completed")
            #expect(!pty.output.contains("page:1"))
            pty.type("\u{3}")
            #expect(await pty.exit() == 0)
        }
    }

    @Test("it says why there may be nothing to see")
    func hint() async throws {
        try await withWorker { redis, _ in
            let pty = try Pty(["watch", "--url", redis.url])
            try await pty.until("no events so far", "publishesEvents")
            pty.type("\u{3}")
            #expect(await pty.exit() == 0)
        }
    }

    @Test("a lost connection is told, and events go on")
    func gap() async throws {
        try await withWorker { redis, store in
            let pty = try Pty(["watch", "--url", redis.url])
            try await pty.until("watching namespace default")
            let flight = try await HeldFlight(store, key: "front")
            try await pty.until("acquired")
            pty.forget()
            // Not the leader's own inbox: it would renew its lease at once, and an event tells of the flight before the
            // pass does.
            for client in try await redis.command("CLIENT", "LIST", "TYPE", "pubsub").split(whereSeparator: \.isNewline)
            where !client.contains("\(store.inbox)") {
                guard let id = client.split(separator: " ").first, id.hasPrefix("id=") else { continue }
                try await redis.command("CLIENT", "KILL", "ID", "\(id.dropFirst(3))")
            }
            try await pty.until("connection to Redis is lost", "events may have been missed")
            // What was told before may have changed meanwhile.
            try await pty.until("running", "pages:front")
            await flight.complete()
            try await pty.until("completed")
            pty.type("\u{3}")
            #expect(await pty.exit() == 0)
        }
    }

    @Test("a reader that has seen enough ends it quietly")
    func head() async throws {
        try await withWorker { redis, store in
            // The shell's own output goes to the terminal; the watcher's goes to head.
            let command =
                "'\(try Tool.path)' watch --output ndjson --url '\(redis.url)' | head -n 1; echo piped ${PIPESTATUS[0]}"
            let pty = try Pty(["-c", command], executable: "/bin/bash")
            try await pty.until("watching namespace default")
            // The second event, or a later one, finds the reader gone.
            try await HeldFlight(store, key: "one").complete()
            try await pty.until(#""event":"acquired""#)
            for number in 0..<50 where !pty.output.contains("piped") {
                try await HeldFlight(store, key: "more \(number)").complete()
            }
            try await pty.until("piped 0")
            #expect(await pty.exit() == 0)
        }
    }

    @Test("JSON is one document, NDJSON one object a line", arguments: ["json", "ndjson"])
    func json(_ format: String) async throws {
        try await withWorker { redis, store in
            let tool = try RunningTool("watch", "--output", format, "--url", redis.url)
            try await tool.untilMessage("watching namespace default")
            try await HeldFlight(store, key: "front").complete()
            try await tool.untilOutput("completed")
            tool.interrupt()
            let run = await tool.end()
            #expect(run.status == 0)
            let text =
                format == "json" ? run.output : "[" + run.output.split(separator: "\n").joined(separator: ",") + "]"
            let events = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
            #expect(events.compactMap { $0["event"] as? String } == ["acquired", "completed"])
            #expect(events.allSatisfy { $0["key"] as? String == "front" && $0["leader"] as? String == "worker-1" })
        }
    }

    @Test("a Redis that is not there is one line and status 69")
    func unavailable() async throws {
        let run = try await Tool.run("watch", "--url", "redis+unix:///nonexistent/socket")
        #expect(run.status == 69)
        #expect(run.messages.split(separator: "\n").count == 1)
    }
}

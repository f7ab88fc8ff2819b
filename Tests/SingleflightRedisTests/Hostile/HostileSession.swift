import Foundation
import SingleflightLease
import SingleflightRedis
import Synchronization

/// One process's life with a hostile server: requests of every kind, calls of a group, and the tools' questions. Each
/// must come to an end.
struct HostileSession: Sendable {
    static let commandTimeout = Duration.milliseconds(40)
    /// How long one thing may take on the busiest of machines, before it counts as hung.
    private static let patience = Duration.seconds(60)

    let seed: UInt64
    let ends: HostileEnds

    /// What went wrong; empty if nothing did.
    func run(on server: HostileServer) async throws -> [String] {
        var random = FlightRandom.seeded(self.seed)
        server.begin(seed: self.seed)
        let store = try RedisLeaseStore(
            url: "redis+unix://\(server.path)",
            configuration: .init(namespace: "test", label: "victim", commandTimeout: Self.commandTimeout)
        )
        let group = try DistributedGroup<String, String>(
            "pages",
            store: store,
            configuration: .init(
                lease: .init(
                    duration: .milliseconds(120),
                    grace: .milliseconds(100),
                    leaderLoss: Bool.random(using: &random) ? .cancel : .takeOver(attempts: 2)
                ),
                results: .init(
                    retention: .milliseconds(100),
                    reuse: Bool.random(using: &random) ? .zero : .milliseconds(100)
                ),
                unavailable: Bool.random(using: &random) ? .fail : .runLocally
            )
        )
        let asksLikeATool = Int.random(in: 0..<8, using: &random) == 0
        let life = Task { try await store.run() }
        var problems = await Self.inTime("the requests") { await Self.requests(store, self.ends) }
        problems += await Self.inTime("the calls") {
            async let one = group.run("front", waitingAtMost: .milliseconds(60)) { _ in "value" }
            async let two = group.run("front", waitingAtMost: .milliseconds(80)) { flight in
                _ = try? await flight.fence()
                return "value"
            }
            for outcome in await [one, two] { self.ends.call(outcome) }
            return []
        }
        if asksLikeATool {
            problems += await Self.inTime("the tool's questions") { await Self.questions(store, server) }
        }
        life.cancel()
        problems += await Self.inTime("the shutdown") {
            _ = await life.result
            return []
        }
        if group.inFlight != 0 { problems.append("\(group.inFlight) flights left") }
        return problems
    }

    /// One request of every kind, all at once.
    private static func requests(_ store: RedisLeaseStore, _ ends: HostileEnds) async -> [String] {
        guard let key = try? FlightKey(group: "pages", bytes: Array("front".utf8)) else { return ["no key"] }
        let enter = EnterRequest.make(key, lease: .milliseconds(200))
        let token = enter.token
        let requests: [@Sendable () async throws -> Void] = [
            { _ = try await store.entered(enter) },
            {
                let request = RenewRequest(key: key, token: token, terms: enter.terms, note: enter.note)
                _ = try await store.answer(to: request).get()
            },
            {
                let outcome = StoredOutcome.value([1])
                _ = try await store.completed(.init(key: key, token: token, outcome: outcome))
            },
            {
                let request = ReleaseRequest(key: key, token: token, mode: .handOver)
                _ = try await store.answer(to: request).get()
            },
            {
                let request = PollRequest(key: key, token: token)
                _ = try await store.answer(to: request).get()
            },
            { _ = try await store.left(key, token) },
            { _ = try await store.answer(to: FenceRequest(key: key, token: token)).get() },
            {
                _ = try await store.revoked(.init(key: key, token: nil, by: "test", reason: ""))
            },
            { _ = try await store.inspected(key) },
        ]
        return await withTaskGroup(of: [String].self) { tasks in
            for request in requests {
                tasks.addTask {
                    do {
                        try await request()
                        ends.request(nil)
                        return []
                    } catch let error as LeaseStoreError {
                        ends.request(error)
                        return error.message.utf8.count <= 4_096
                            ? [] : ["a message of \(error.message.utf8.count) bytes"]
                    } catch {
                        return ["an untyped error: \(error)"]
                    }
                }
            }
            return await tasks.reduce(into: []) { $0 += $1 }
        }
    }

    private static func questions(_ store: RedisLeaseStore, _ server: HostileServer) async -> [String] {
        do {
            var batches = store.leaseBatches().makeAsyncIterator()
            // A server can always say that there is more.
            for _ in 0..<10 where try await batches.next() == nil { break }
            _ = try await store.events()
        } catch {}
        _ = try? await RedisProbe.facts(
            url: "redis+unix://\(server.path)",
            configuration: .init(namespace: "test", label: "doctor", commandTimeout: .milliseconds(20)),
            wallClock: { .seconds(Date().timeIntervalSince1970) }
        )
        return []
    }

    /// What `work` finds, or that it did not end. What hangs is left behind, for nothing can end it.
    private static func inTime(_ what: String, _ work: @escaping @Sendable () async -> [String]) async -> [String] {
        let first = Deferred<[String]>()
        let watch = Task {
            try await Task.sleep(for: self.patience)
            first.set(["\(what) did not end"])
        }
        Task { first.set(await work()) }
        let result = await first.value
        watch.cancel()
        return result
    }
}

/// A value that is set once, and waited for.
private final class Deferred<Value: Sendable>: Sendable {
    private let state = Mutex<(value: Value?, waiting: CheckedContinuation<Value, Never>?)>((nil, nil))

    func set(_ value: Value) {
        let waiting = self.state.withLock { state -> CheckedContinuation<Value, Never>? in
            guard state.value == nil else { return nil }
            state.value = value
            return state.waiting.take()
        }
        waiting?.resume(returning: value)
    }

    var value: Value {
        get async {
            await withCheckedContinuation { continuation in
                let value = self.state.withLock { state -> Value? in
                    if state.value == nil { state.waiting = continuation }
                    return state.value
                }
                if let value { continuation.resume(returning: value) }
            }
        }
    }
}

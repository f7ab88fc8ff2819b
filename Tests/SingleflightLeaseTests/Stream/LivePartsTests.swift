import SingleflightLease
import SingleflightTestKit
import Synchronization
import TestSupport
import Testing

@Suite("Parts beside a result", .timeLimit(.minutes(4)))
struct LivePartsTests {
    private typealias Group = DistributedGroup<String, String>

    private let cluster: Cluster
    private let a: InMemoryLeaseStore
    private let b: InMemoryLeaseStore

    init() throws {
        self.cluster = try Cluster()
        self.a = InMemoryLeaseStore(server: self.cluster.server, label: "a")
        self.b = InMemoryLeaseStore(server: self.cluster.server, label: "b")
    }

    private static func group(_ store: InMemoryLeaseStore) throws -> Group {
        try Group("group", store: store, configuration: .test, codec: JSONCodec<String>(), live: StreamLimits())
    }

    @Test("a caller elsewhere hears the parts while they are made, then has the result, and nothing of them is left")
    func live() async throws {
        let (here, there) = (try Self.group(self.a), try Self.group(self.b))
        let gate = Gate()
        let heard = Mutex<[String]>([])
        async let led = here.run("key", onEvent: nil) { _, writer in
            writer.write(Array("one".utf8))
            await gate.wait()
            writer.write(Array("two".utf8))
            return "value"
        }
        await gate.untilArrived()
        async let followed = there.follow("key", waitingAtMost: nil) { event in
            guard case .part(let part) = event else { return }
            heard.withLock { $0.append(String(decoding: part, as: UTF8.self)) }
        }
        try await until("the first part") { heard.withLock { $0 } == ["one"] }
        gate.open()
        let (leader, follower) = await (led, followed)
        #expect(try leader.outcome.completion().result.get() == "value")
        #expect(try follower.outcome.completion().result.get() == "value")
        #expect(follower.isOfParts)
        #expect(!leader.isOfParts)
        // No writer keeps its chunks alive, and no reader looks for more.
        for store in [self.a, self.b] { await store.untilIdle() }
        try await until("no timers") { self.cluster.clock.timerCount == 0 }
        self.cluster.clock.advance(by: .seconds(60))
        #expect(self.cluster.server.isEmpty)
    }
}

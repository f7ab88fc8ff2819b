import ObservabilityTestSupport
import SingleflightLease
import SingleflightTestKit
import Synchronization
import TestSupport
import Testing

@Suite("Refreshing", .timeLimit(.minutes(4)))
struct RefreshTests {
    /// Results are reused for 10 s, and renewed in the last 4.
    private static let configuration = DistributedGroupConfiguration.test {
        $0.results.reuse = .seconds(10)
        $0.results.refreshAfter = .seconds(6)
    }

    private let cluster: Cluster
    private let a: Process
    private let b: Process
    private let observed = Observed()

    init() throws {
        self.cluster = try Cluster()
        var configuration = Self.configuration
        configuration.observability = self.observed.observability
        self.a = try self.cluster.process("a", configuration)
        self.b = try self.cluster.process("b", Self.configuration)
    }

    private static func ended(_ result: Result<String, any Error>) -> Work {
        let work = Work()
        work.finish(result)
        return work
    }

    private static func value(_ task: Task<Outcome<String>, Never>) async throws -> String {
        try await task.value.completion().result.get()
    }

    private func keep(_ value: String) async throws {
        #expect(try await Self.value(self.a.call(Self.ended(.success(value)))) == value)
        await self.a.store.untilIdle()
    }

    // MARK: - In the last part of a result's life

    @Test("a result is given at once in the last part of its life, and one process computes the next")
    func due() async throws {
        try await self.keep("first")
        self.cluster.clock.advance(by: .seconds(7))
        let (work, other) = (Work(), Work())
        #expect(try await Self.value(self.a.call(work)) == "first")
        await work.untilStarted()
        // It is being computed: calls that come now, here or elsewhere, have the kept result, too.
        #expect(try await Self.value(self.a.call(other)) == "first")
        #expect(try await Self.value(self.b.call(other)) == "first")
        #expect(work.starts == 1 && other.starts == 0)
        work.finish(.success("second"))
        await self.a.store.untilIdle()
        #expect(try await Self.value(self.b.call(other)) == "second")
        // The new result has a life of its own.
        self.cluster.clock.advance(by: .milliseconds(5_900))
        #expect(try await Self.value(self.b.call(other)) == "second")
        #expect(other.starts == 0)
        await self.cluster.expectNothingLeft(self.a, self.b)
    }

    @Test("a result is not renewed before its time, and the moment itself is in time")
    func moment() async throws {
        try await self.keep("first")
        self.cluster.clock.advance(by: .seconds(6))
        let work = Self.ended(.success("second"))
        #expect(try await Self.value(self.b.call(work)) == "first")
        await self.b.store.untilIdle()
        #expect(work.starts == 0)
        self.cluster.clock.advance(by: .milliseconds(1))
        #expect(try await Self.value(self.b.call(work)) == "first")
        await self.b.store.untilIdle()
        #expect(work.starts == 1)
        #expect(try await Self.value(self.b.call(Work())) == "second")
        await self.cluster.expectNothingLeft(self.a, self.b)
    }

    @Test("a refresh that fails keeps the result to its end, is counted, and is tried again by the next caller")
    func failure() async throws {
        try await self.keep("first")
        self.cluster.clock.advance(by: .seconds(7))
        let failing = Self.ended(.failure(Failure()))
        for attempt in 1...2 {
            #expect(try await Self.value(self.a.call(failing)) == "first")
            await self.a.store.untilIdle()
            #expect(failing.starts == attempt)
        }
        #expect(self.observed.count("refreshes_total", ["result": "failure"]) == 2)
        self.cluster.clock.advance(by: .seconds(3))
        #expect(try await Self.value(self.a.call(Self.ended(.success("second")))) == "second")
        await self.cluster.expectNothingLeft(self.a, self.b)
    }

    @Test("a refresh whose result is not there when the earlier one ends is joined by the calls that come then")
    func overtaken() async throws {
        try await self.keep("first")
        self.cluster.clock.advance(by: .seconds(9))
        let (work, other) = (Work(), Work())
        #expect(try await Self.value(self.a.call(work)) == "first")
        await work.untilStarted()
        self.cluster.clock.advance(by: .seconds(1))
        let here = self.a.call(other)
        await self.cluster.untilFollowed(by: 1)
        let there = self.b.call(other)
        await self.cluster.untilFollowed(by: 2)
        work.finish(.success("second"))
        #expect(try await Self.value(here) == "second")
        #expect(try await Self.value(there) == "second")
        #expect(other.starts == 0)
        await self.cluster.expectNothingLeft(self.a, self.b)
    }

    @Test("a call for many keys renews all that are due in one run")
    func many() async throws {
        let keys = ["1", "2", "3"]
        let group = self.a.group
        _ = await group.values(keys) { led in Dictionary(uniqueKeysWithValues: led.keys.map { ($0, "first") }) }
        await self.a.store.untilIdle()
        self.cluster.clock.advance(by: .seconds(7))
        let runs = Mutex<[[String]]>([])
        let begun = Gate("the run")
        let values = await group.values(keys) { led in
            runs.withLock { $0.append(led.keys) }
            await begun.wait()
            return Dictionary(uniqueKeysWithValues: led.keys.map { ($0, "second") })
        }
        #expect(keys.allSatisfy { (try? values[$0]?.get()) == "first" })
        // What a call leads later is gathered for a while.
        await self.cluster.clock.untilScheduled()
        self.cluster.clock.advance(by: .milliseconds(10))
        await begun.untilArrived()
        #expect(runs.withLock { $0 } == [keys])
        begun.open()
        await self.a.store.untilIdle()
        #expect(try await group.value("2") { _ in "third" } == "second")
        await self.cluster.expectNothingLeft(self.a, self.b)
    }

    // MARK: - By hand

    @Test("a refresh by hand replaces what is kept, and nobody waits for it")
    func byHand() async throws {
        try await self.keep("first")
        let work = Work()
        self.a.group.refresh("key") { try await work.run($0) }
        await work.untilStarted()
        #expect(self.a.group.inFlight == 1)
        #expect(try await Self.value(self.b.call(Work())) == "first")
        work.finish(.success("second"))
        await self.a.store.untilIdle()
        #expect(try await Self.value(self.b.call(Work())) == "second")
        #expect(self.observed.count("refreshes_total", ["result": "value"]) == 1)
        await self.cluster.expectNothingLeft(self.a, self.b)
    }

    @Test("a refresh does nothing where a flight runs, here or elsewhere, and leaves nobody registered")
    func running() async throws {
        let (work, other) = (Work(), Work())
        let leader = self.b.call(work)
        await work.untilStarted()
        self.a.group.refresh("key") { try await other.run($0) }
        await self.a.store.untilIdle()
        self.b.group.refresh("key") { try await other.run($0) }
        #expect(self.observed.count("refreshes_total", ["result": "needless"]) == 1)
        await self.cluster.server.untilWaiters(of: self.cluster.key, 0)
        work.finish(.success("value"))
        #expect(try await leader.value.completion().isShared == false)
        #expect(other.starts == 0)
        await self.cluster.expectNothingLeft(self.a, self.b)
    }

    @Test("refreshes of one key at the same time are one")
    func twice() async throws {
        let (work, other) = (Work(), Work())
        self.a.group.refresh("key") { try await work.run($0) }
        await work.untilStarted()
        self.a.group.refresh("key") { try await other.run($0) }
        self.b.group.refresh("key") { try await other.run($0) }
        await self.b.store.untilIdle()
        work.finish(.success("value"))
        await self.a.store.untilIdle()
        #expect(work.starts == 1 && other.starts == 0)
        await self.cluster.expectNothingLeft(self.a, self.b)
    }

    @Test("a refresh computes nothing where the store cannot be asked, and is counted")
    func unavailable() async throws {
        self.a.cutOff()
        let work = Work()
        self.a.group.refresh("key") { try await work.run($0) }
        // The time for which it asks, and then that for which it may be granted what it asked for.
        self.cluster.clock.advance(by: .seconds(3))
        self.cluster.letRequestsLapse()
        await self.a.store.untilIdle()
        #expect(work.starts == 0)
        #expect(self.observed.count("refreshes_total", ["result": "unavailable"]) == 1)
        #expect(self.a.group.inFlight == 0)
    }

    @Test("a refresh from inside an operation is part of no other flight's work")
    func inside() async throws {
        let group = self.a.group
        let work = Work()
        let value = try await group.value("outer") { _ in
            group.refresh("inner") { flight in
                // Would be refused as waiting for itself if the outer flight waited for this one.
                try await group.value("outer") { _ in "not run" } + work.run(flight)
            }
            return "outer"
        }
        #expect(value == "outer")
        await work.untilStarted()
        work.finish(.success("!"))
        await self.a.store.untilIdle()
        #expect(try await group.value("inner") { _ in "again" } == "outer!")
        await self.cluster.expectNothingLeft(self.a, self.b)
    }

    @Test("the work of a refresh is canceled when its store shuts down")
    func shutDown() async throws {
        let work = Work()
        self.a.group.refresh("key") { try await work.run($0) }
        await work.untilStarted()
        self.a.store.shutDown()
        await work.untilCanceled()
        await self.a.store.untilIdle()
        #expect(self.a.group.inFlight == 0)
    }

    @Test("a time that is not within the reuse is refused", arguments: [0, 10, 11])
    func configuration(seconds: Int) {
        var configuration = Self.configuration
        configuration.results.refreshAfter = .seconds(seconds)
        let error = #expect(throws: DistributedGroupError.self) {
            try DistributedGroup<String, String>("group", store: self.a.store, configuration: configuration)
        }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.message.contains("results.refreshAfter") ?? false)
    }
}

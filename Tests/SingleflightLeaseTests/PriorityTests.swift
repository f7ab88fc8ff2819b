import SingleflightLease
import SingleflightTestKit
import Testing

@Suite("Priorities of distributed operations", .timeLimit(.minutes(4)))
struct PriorityTests {
    let cluster: Cluster
    let work = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    /// Runs until the work is finished, and then says whether its task's priority was raised. That may take a moment:
    /// the caller that raises it has joined the flight before.
    private static func raised(_ work: Work, _ flight: Flight<String>) async throws -> String {
        _ = try await work.run(flight)
        for _ in 0..<1_000_000 where Task.currentPriority < .high {
            await Task.yield()
        }
        return Task.currentPriority >= .high ? "raised" : "not raised"
    }

    private func lead(_ process: Process) async -> Task<Outcome<String>, Never> {
        let (group, work) = (process.group, self.work)
        let call = Task(priority: .low) { await group.run("key") { try await Self.raised(work, $0) } }
        await self.work.untilStarted()
        return call
    }

    @Test("a waiting task of higher priority raises that of the operation")
    func caller() async throws {
        let a = try self.cluster.process("a")
        let leader = await self.lead(a)
        let group = a.group
        let joiner = Task(priority: .high) { await group.run("key") { _ in "not run" } }
        self.work.finish()
        #expect(try await joiner.value.completion().result.get() == "raised")
        _ = await leader.value
        await self.cluster.expectNothingLeft(a)
    }

    @Test("so does a task of higher priority that waits by hand")
    func subscriber() async throws {
        let a = try self.cluster.process("a")
        let leader = await self.lead(a)
        let subscriber = try await a.subscribes()
        let joiner = Task(priority: .high) { await subscriber.outcome() }
        self.work.finish()
        #expect(try await joiner.value.completion().result.get() == "raised")
        _ = await leader.value
        await self.cluster.expectNothingLeft(a)
    }

    @Test("so does a waiting task whose priority is raised")
    func escalated() async throws {
        guard #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) else { return }
        let a = try self.cluster.process("a")
        let leader = await self.lead(a)
        leader.escalatePriority(to: .high)
        self.work.finish()
        #expect(try await leader.value.completion().result.get() == "raised")
        await self.cluster.expectNothingLeft(a)
    }

    @Test("the operation that runs without a lease is raised, too")
    func withoutLease() async throws {
        let a = try self.cluster.process("a")
        a.store.onRequest { $0 == .enter ? .requestLost(LeaseStoreError(.protocolViolation, "no lease store")) : .none }
        let leader = await self.lead(a)
        let group = a.group
        let joiner = Task(priority: .high) { await group.run("key") { _ in "not run" } }
        self.work.finish()
        #expect(try await joiner.value.completion().result.get() == "raised")
        _ = await leader.value
        // The operation's task forgets its longest time after it has told the callers.
        await self.cluster.clock.untilIdle()
        await self.cluster.expectNothingLeft(a)
    }
}

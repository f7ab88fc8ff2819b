import SingleflightLease
import SingleflightTestKit
import Synchronization
import TestSupport
import Testing

/// What each process was told.
private final class Heard: Sendable {
    private let reports = Mutex<[String: [FlightProgress]]>([:])

    var all: [String: [FlightProgress]] { self.reports.withLock { $0 } }

    func add(_ progress: FlightProgress, by label: String) {
        self.reports.withLock { $0[label, default: []].append(progress) }
    }
}

@Suite("Progress beside the outcome", .timeLimit(.minutes(4)))
struct ProgressTests {
    let cluster: Cluster

    init() throws {
        self.cluster = try Cluster()
    }

    /// A renewal each second anyway, and for progress each 200 ms.
    private static let configuration = DistributedGroupConfiguration.test {
        $0.limits.progressInterval = .milliseconds(200)
    }

    private func processes(_ count: Int = 2) throws -> [Process] {
        try ["a", "b", "c"].prefix(count).map { try self.cluster.process($0, Self.configuration) }
    }

    /// Counts a process's renewals from now on.
    private func renewals(of process: Process) -> Calls {
        let renewals = Calls()
        process.store.onRequest { operation in
            if operation == .renew { renewals.call() }
            return .none
        }
        return renewals
    }

    @Test("callers in the operation's process read each report at once, and the end of the flight after the last")
    func here() async throws {
        let a = try self.processes(1)[0]
        let leader = try await a.leads()
        var reports = try await a.subscribes().progress.makeAsyncIterator()
        for step in 1...3 {
            leader.report(progress: FlightProgress(fraction: Double(step) / 4, message: "step \(step)"))
            #expect(await reports.next() == FlightProgress(fraction: Double(step) / 4, message: "step \(step)"))
        }
        leader.report(progress: FlightProgress(fraction: 1))
        leader.complete(.success("value"))
        _ = await leader.outcome()
        #expect(await reports.next() == FlightProgress(fraction: 1))
        #expect(await reports.next() == nil)
        #expect(self.cluster.clock.now.sinceOrigin == .zero)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a slow reader gets the newest report, and not those before it; whoever comes late gets it, too")
    func newest() async throws {
        let a = try self.processes(1)[0]
        let leader = try await a.leads()
        let subscriber = try await a.subscribes()
        var early = subscriber.progress.makeAsyncIterator()
        for step in 1...100 {
            leader.report(progress: FlightProgress(message: "\(step)"))
        }
        #expect(await early.next() == FlightProgress(message: "100"))
        var late = subscriber.progress.makeAsyncIterator()
        #expect(await late.next() == FlightProgress(message: "100"))
        leader.complete(.success("value"))
        _ = await leader.outcome()
        #expect(await early.next() == nil)
        #expect(await late.next() == nil)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a call that goes on without the store hears of its own operation's progress")
    func withoutTheStore() async throws {
        let a = try self.processes(1)[0]
        a.store.onRequest { _ in .requestLost(LeaseStoreError(.protocolViolation, "no lease store")) }
        let heard = Heard()
        let outcome = await a.group.run("key", onProgress: { heard.add($0, by: "a") }) { flight in
            flight.report(progress: FlightProgress(message: "half"))
            return "value"
        }
        #expect(try outcome.completion().coordination == .degraded)
        #expect(heard.all["a"] == [FlightProgress(message: "half")])
        await self.cluster.expectNothingLeft(a)
    }

    @Test("what the lease's record told before an announcement is not told after it")
    func recordOvertaken() async throws {
        let processes = try self.processes()
        let leader = try await processes[0].leads()
        let subscriber = try await processes[1].subscribes()
        leader.report(progress: FlightProgress(message: "one"))
        self.cluster.clock.advance(by: .milliseconds(200))
        let gate = RequestGate()
        processes[1].store.onRequest { $0 == .inspect ? .replyHeld(gate) : .none }
        let late = try await processes[1].subscribes()
        var reports = subscriber.progress.makeAsyncIterator()
        leader.report(progress: FlightProgress(message: "two"))
        self.cluster.clock.advance(by: .milliseconds(200))
        #expect(await reports.next() == FlightProgress(message: "two"))
        gate.open()
        leader.complete(.success("value"))
        #expect(try await late.outcome().completion().result.get() == "value")
        #expect(await reports.next() == nil)
        await self.cluster.expectNothingLeft(processes[0], processes[1])
    }

    @Test("a task that reads and is canceled reads nothing more, and the flight goes on")
    func canceledReader() async throws {
        let a = try self.processes(1)[0]
        let leader = try await a.leads()
        let subscriber = try await a.subscribes()
        let reader = Task {
            var reports = subscriber.progress.makeAsyncIterator()
            return await reports.next()
        }
        reader.cancel()
        #expect(await reader.value == nil)
        leader.complete(.success("value"))
        #expect(try await subscriber.outcome().completion().result.get() == "value")
        await self.cluster.expectNothingLeft(a)
    }

    @Test("readers in other processes are told by a renewal that comes early for it")
    func elsewhere() async throws {
        let processes = try self.processes()
        let leader = try await processes[0].leads()
        var reports = try await processes[1].subscribes().progress.makeAsyncIterator()
        leader.report(progress: FlightProgress(fraction: 0.5, message: "half"))
        self.cluster.clock.advance(by: .milliseconds(200))
        #expect(await reports.next() == FlightProgress(fraction: 0.5, message: "half"))
        leader.report(progress: FlightProgress(fraction: 0.75))
        leader.report(progress: FlightProgress(fraction: 0.8))
        self.cluster.clock.advance(by: .milliseconds(200))
        #expect(await reports.next() == FlightProgress(fraction: 0.8))
        leader.complete(.success("value"))
        _ = await leader.outcome()
        #expect(await reports.next() == nil)
        await self.cluster.expectNothingLeft(processes[0], processes[1])
    }

    @Test("a chatty operation costs no more renewals than the interval allows, and a silent one none but the usual")
    func throttle() async throws {
        let processes = try self.processes()
        let leader = try await processes[0].leads()
        let follower = try await processes[1].subscribes()
        let renewals = self.renewals(of: processes[0])
        for step in 0..<3000 {
            leader.report(progress: FlightProgress(message: "\(step)"))
            self.cluster.clock.advance(by: .milliseconds(1))
        }
        #expect(renewals.made == 15, "one each 200 ms of 3 s")
        self.cluster.clock.advance(by: .milliseconds(200))
        let before = renewals.made
        self.cluster.clock.advance(by: .seconds(3))
        #expect(renewals.made - before == 3, "one each second")
        #expect(leader.isCurrent)
        leader.complete(.success("value"))
        #expect(try await follower.outcome().completion().result.get() == "value")
        await self.cluster.expectNothingLeft(processes[0], processes[1])
    }

    @Test("where nobody waits elsewhere, progress costs one renewal early and then only the usual ones")
    func nobodyElsewhere() async throws {
        let a = try self.processes(1)[0]
        let leader = try await a.leads()
        let renewals = self.renewals(of: a)
        for step in 0..<2200 {
            leader.report(progress: FlightProgress(message: "\(step)"))
            self.cluster.clock.advance(by: .milliseconds(1))
        }
        #expect(renewals.made == 3, "at 200, 1200 and 2200 ms")
        leader.complete(.success("value"))
        _ = await leader.outcome()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("whoever begins to wait after a report reads it from the lease")
    func latecomer() async throws {
        let processes = try self.processes()
        let leader = try await processes[0].leads()
        leader.report(progress: FlightProgress(fraction: 0.5))
        self.cluster.clock.advance(by: .milliseconds(200))
        var reports = try await processes[1].subscribes().progress.makeAsyncIterator()
        #expect(await reports.next() == FlightProgress(fraction: 0.5))
        leader.complete(.success("value"))
        _ = await leader.outcome()
        await self.cluster.expectNothingLeft(processes[0], processes[1])
    }

    @Test("a caller with an operation that begins to wait after a report is told of it, too")
    func latecomingCaller() async throws {
        let processes = try self.processes()
        let leader = try await processes[0].leads()
        leader.report(progress: FlightProgress(fraction: 0.5))
        self.cluster.clock.advance(by: .milliseconds(200))
        let heard = Heard()
        let (late, gate) = (processes[1], RequestGate())
        late.store.onRequest { $0 == .enter ? .replyHeld(gate) : .none }
        let call = Task<Outcome<String>, Never>.atOnce {
            await late.group.run("key") { progress in
                heard.add(progress, by: "late")
            } operation: { _ in
                "not run"
            }
        }
        await gate.untilHeld()
        gate.open()
        leader.complete(.success("value"))
        #expect(try await call.value.completion().result.get() == "value")
        #expect(heard.all == ["late": [FlightProgress(fraction: 0.5)]])
        await self.cluster.expectNothingLeft(processes[0], processes[1])
    }

    @Test("progress whose announcements are all lost is read at the next poll")
    func announcementsLost() async throws {
        self.cluster.server.dropsAnnouncements = true
        let processes = try self.processes()
        let leader = try await processes[0].leads()
        let follower = try await processes[1].subscribes()
        var reports = follower.progress.makeAsyncIterator()
        leader.report(progress: FlightProgress(message: "unheard"))
        self.cluster.clock.advance(by: .milliseconds(3400))
        #expect(await reports.next() == FlightProgress(message: "unheard"))
        leader.complete(.success("value"))
        _ = await leader.outcome()
        self.cluster.clock.advance(by: .seconds(4))
        #expect(try await follower.outcome().completion().result.get() == "value")
        await self.cluster.expectNothingLeft(processes[0], processes[1])
    }

    @Test("a lost renewal's news are told by the next one")
    func renewalLost() async throws {
        let processes = try self.processes()
        let leader = try await processes[0].leads()
        var reports = try await processes[1].subscribes().progress.makeAsyncIterator()
        let count = CountDown(1)
        processes[0].store.onRequest { $0 == .renew && count.take() ? .requestLost(.cutOff) : .none }
        leader.report(progress: FlightProgress(message: "again"))
        self.cluster.clock.advance(by: .milliseconds(300))
        #expect(await reports.next() == FlightProgress(message: "again"))
        leader.complete(.success("value"))
        _ = await leader.outcome()
        await self.cluster.expectNothingLeft(processes[0], processes[1])
    }

    @Test("callers that run an operation are told of progress, wherever it runs, before they have the outcome")
    func onProgress() async throws {
        let processes = try self.processes()
        let heard = Heard()
        let work = Work()
        func call(_ index: Int) -> Task<Outcome<String>, Never> {
            let process = processes[index]
            return Task {
                await process.group.run("key") { progress in
                    heard.add(progress, by: process.store.label)
                } operation: { flight in
                    try await work.run(flight)
                }
            }
        }
        let calls = [call(0)]
        await work.untilStarted()
        let follower = call(1)
        await self.cluster.untilFollowed(by: 1)
        work.flight?.report(progress: FlightProgress(fraction: 0.5))
        self.cluster.clock.advance(by: .milliseconds(200))
        work.finish(.success("value"))
        for call in calls + [follower] {
            #expect(try await call.value.completion().result.get() == "value")
        }
        #expect(heard.all == ["a": [FlightProgress(fraction: 0.5)], "b": [FlightProgress(fraction: 0.5)]])
        await self.cluster.expectNothingLeft(processes[0], processes[1])
    }

    @Test("an operation that runs without a lease tells the callers of its process")
    func withoutLease() async throws {
        let a = try self.processes(1)[0]
        a.store.onRequest { $0 == .enter ? .requestLost(LeaseStoreError(.protocolViolation, "no lease store")) : .none }
        let leader = try await a.leads()
        var reports = try await a.subscribes().progress.makeAsyncIterator()
        leader.report(progress: FlightProgress(fraction: 0.5))
        #expect(await reports.next() == FlightProgress(fraction: 0.5))
        leader.complete(.success("value"))
        #expect(await reports.next() == nil)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a long message is cut at a character, and reaches other processes so")
    func longMessage() async throws {
        let processes = try self.processes()
        let leader = try await processes[0].leads()
        var reports = try await processes[1].subscribes().progress.makeAsyncIterator()
        leader.report(progress: FlightProgress(message: "a" + String(repeating: "ä", count: 2000)))
        self.cluster.clock.advance(by: .milliseconds(200))
        #expect(await reports.next()?.message == "a" + String(repeating: "ä", count: 511))
        leader.complete(.success("value"))
        _ = await leader.outcome()
        await self.cluster.expectNothingLeft(processes[0], processes[1])
    }
}

import CoreMetrics
import MetricsTestKit
import ObservabilityTestSupport
import SingleflightTestKit
import Testing

@testable import SingleflightLease

@Suite("What a group measures", .timeLimit(.minutes(4)))
struct MetricsTests {
    let cluster: Cluster
    let work = Work()
    let other = Work()
    let here = Observed()
    let there = Observed()

    init() throws {
        self.cluster = try Cluster()
    }

    private func process(
        _ label: String,
        _ observed: Observed,
        _ change: (inout DistributedGroupConfiguration) -> Void = { _ in }
    ) throws -> Process {
        try self.cluster.process(
            label,
            .test {
                $0.observability = observed.observability
                change(&$0)
            }
        )
    }

    /// A leader, a subscriber and a follower of one flight.
    private func flight(_ result: Result<String, any Error> = .success("value")) async throws {
        let (a, b) = (try self.process("a", self.here), try self.process("b", self.there))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let subscriber = await a.joinedCall(self.other, clock: self.cluster.clock)
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        self.cluster.clock.advance(by: .milliseconds(500))
        self.work.finish(result)
        for call in [leader, subscriber, follower] { _ = await call.value }
        await a.store.untilIdle()
        await b.store.untilIdle()
    }

    @Test("each call is counted by what the caller was and what it got")
    func calls() async throws {
        try await self.flight()
        #expect(self.here.count("calls_total", ["role": "leader", "outcome": "value"]) == 1)
        #expect(self.here.count("calls_total", ["role": "subscriber", "outcome": "value"]) == 1)
        #expect(self.there.count("calls_total", ["role": "follower", "outcome": "value"]) == 1)
        #expect(self.here.metrics.counterTotal(label: "singleflight_calls_total") == 2)
        #expect(self.there.metrics.counterTotal(label: "singleflight_calls_total") == 1)
    }

    @Test("a group that only observes counts what would have become of each call")
    func observing() async throws {
        let a = try self.process("a", self.here) { $0.mode = .observe }
        let calls = [a.call(self.work)]
        await self.work.untilStarted()
        let second = a.call(self.work)
        await self.work.untilStarted(2)
        self.work.finish()
        for call in calls + [second] { _ = await call.value }
        #expect(self.here.count("calls_observed_total", ["verdict": "led"]) == 1)
        #expect(self.here.count("calls_observed_total", ["verdict": "here"]) == 1)
        #expect(self.here.metrics.counterTotal(label: "singleflight_calls_observed_total") == 2)
        #expect(self.here.metrics.counterTotal(label: "singleflight_calls_degraded_total") == 0)
        await a.store.untilIdle()
    }

    @Test("a failure is counted as one, for everybody who got it")
    func failures() async throws {
        try await self.flight(.failure(Failure()))
        #expect(self.here.count("calls_total", ["role": "leader", "outcome": "failure"]) == 1)
        #expect(self.there.count("calls_total", ["role": "follower", "outcome": "failure"]) == 1)
        #expect(self.here.count("flights_total", ["role": "leader", "outcome": "failure"]) == 1)
    }

    @Test("calls that got a result without running their operation count as coalesced")
    func coalesced() async throws {
        try await self.flight()
        #expect(self.here.count("calls_coalesced_total") == 1)
        #expect(self.there.count("calls_coalesced_total") == 1)
    }

    @Test("a flight counts once in each process, and is no longer current afterwards")
    func flights() async throws {
        try await self.flight()
        #expect(self.here.count("flights_total", ["role": "leader", "outcome": "value"]) == 1)
        #expect(self.there.count("flights_total", ["role": "follower", "outcome": "value"]) == 1)
        #expect(self.here.gauge("flights_current") == [1, 0])
        #expect(self.there.gauge("flights_current") == [1, 0])
    }

    @Test("waiting and working are timed on the store's clock")
    func times() async throws {
        try await self.flight()
        #expect(self.here.nanoseconds("call_wait", ["role": "leader"]) == [500_000_000])
        #expect(self.there.nanoseconds("call_wait", ["role": "follower"]) == [500_000_000])
        #expect(self.here.nanoseconds("operation") == [500_000_000])
        #expect(self.here.nanoseconds("result_commit") == [0])
        // The clock stands still while the callers wake up.
        #expect(self.there.nanoseconds("wakeup", ["role": "follower"]) == [0])
        #expect(self.here.nanoseconds("wakeup", ["role": "subscriber"]) == [0])
    }

    @Test("a result's size is measured where it is sent and where it is received")
    func payloads() async throws {
        try await self.flight()
        let sent = self.here.sizes("payload_bytes", ["direction": "sent"])
        #expect(sent.count == 1)
        #expect(self.there.sizes("payload_bytes", ["direction": "received"]) == sent)
    }

    @Test("a renewal is counted, and timed by what was left until the leader's deadline")
    func renewal() async throws {
        let a = try self.process("a", self.here)
        let leader = a.call(self.work)
        await self.work.untilStarted()
        // Lease 3 s, margin 150 ms: the deadline is at 2.85 s, the renewal at 1 s.
        self.cluster.clock.advance(by: .seconds(1))
        #expect(self.here.count("lease_renewals_total", ["result": "renewed"]) == 1)
        #expect(self.here.nanoseconds("lease_renewal_slack") == [1_850_000_000])
        self.work.finish()
        _ = await leader.value
    }

    @Test("a renewal that is not answered counts as failed, and a lease that is lost so counts as lost")
    func loss() async throws {
        let a = try self.process("a", self.here)
        let leader = a.call(self.work)
        await self.work.untilStarted()
        a.cutOff()
        self.cluster.clock.advance(by: .seconds(3))
        #expect(await leader.value.cancellation == .leaseExpired)
        await a.store.untilIdle()
        #expect(self.here.count("lease_renewals_total", ["result": "failed"]) > 0)
        #expect(self.here.count("lease_losses_total", ["when": "running"]) == 1)
        #expect(self.here.count("lease_losses_total", ["when": "completing"]) == 0)
        #expect(self.here.count("calls_total", ["role": "none", "outcome": "canceled"]) == 1)
        #expect(self.here.count("flights_total", ["role": "leader", "outcome": "canceled"]) == 1)
    }

    @Test("a result that is refused counts as a lease lost in completing")
    func refusal() async throws {
        let (a, b) = (try self.process("a", self.here), try self.process("b", self.there))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        _ = try await b.store.revoked(self.cluster.key)
        // The announcement of the revocation reaches the leader at once: it is lost while its operation runs.
        #expect(await leader.value.cancellation == .revoked(by: "test", reason: ""))
        #expect(self.here.count("lease_losses_total", ["when": "running"]) == 1)

        self.cluster.server.dropsAnnouncements = true
        let next = Work()
        let second = a.call(next)
        await next.untilStarted()
        _ = try await b.store.revoked(self.cluster.key)
        next.finish()
        // The answer to its result says so, too.
        #expect(await second.value.cancellation == .revoked(by: "test", reason: ""))
        #expect(self.here.count("lease_losses_total", ["when": "completing"]) == 1)
    }

    @Test("a takeover is counted where it is taken over, and polls by what they found")
    func takeover() async throws {
        let takeOver: (inout DistributedGroupConfiguration) -> Void = { $0.lease.leaderLoss = .takeOver(attempts: 1) }
        let (a, b) = (try self.process("a", self.here, takeOver), try self.process("b", self.there, takeOver))
        let lost = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(3400))
        _ = await lost.value
        await self.other.untilStarted()
        self.other.finish()
        _ = await follower.value
        #expect(self.there.count("takeovers_total") == 1)
        #expect(self.here.count("takeovers_total") == 0)
        #expect(self.there.count("polls_total", ["result": "expired"]) == 1)
        #expect(self.there.count("calls_total", ["role": "leader", "outcome": "value"]) == 1)
    }

    @Test("calls that go without the store count as degraded, by the outcome that the policy gives them")
    func degraded() async throws {
        let a = try self.process("a", self.here)
        a.cutOff()
        self.work.finish()
        // The repetitions wait on the clock, which a test moves: until they are given up.
        for policy in [UnavailablePolicy.runLocally, .fail] {
            let scheduled = self.cluster.clock.timerCount
            let call = a.call(self.work, unavailable: policy)
            await self.cluster.clock.untilScheduled(scheduled + 1)
            self.cluster.clock.advance(by: .milliseconds(200))
            _ = await call.value
            self.cluster.letRequestsLapse()
            await a.store.untilIdle()
        }
        #expect(self.here.count("calls_degraded_total") == 2)
        #expect(self.here.count("calls_total", ["role": "leader", "outcome": "value"]) == 1)
        #expect(self.here.count("calls_total", ["role": "none", "outcome": "unavailable"]) == 1)
        #expect(self.here.count("calls_coalesced_total") == 0)
        #expect(self.here.count("flights_total", ["role": "none", "outcome": "unavailable"]) == 2)
    }

    @Test("a caller that leaves is counted as such, and its flight as abandoned")
    func abandoned() async throws {
        let a = try self.process("a", self.here)
        let caller = a.call(self.work)
        await self.work.untilStarted()
        caller.cancel()
        _ = await caller.value
        await a.store.untilIdle()
        #expect(self.here.count("calls_total", ["role": "none", "outcome": "left"]) == 1)
        #expect(self.here.count("flights_total", ["role": "leader", "outcome": "abandoned"]) == 1)
        #expect(self.here.gauge("flights_current") == [1, 0])
    }

    @Test("a flight that was over when a caller came counts as reused")
    func reused() async throws {
        let a = try self.process("a", self.here) { $0.results.reuse = .seconds(2) }
        let b = try self.process("b", self.there) { $0.results.reuse = .seconds(2) }
        self.work.finish()
        _ = await a.call(self.work).value
        _ = await b.call(self.other).value
        #expect(self.there.count("flights_total", ["role": "reused", "outcome": "value"]) == 1)
        #expect(self.there.count("calls_coalesced_total") == 1)
    }

    @Test("no handle is made on the way of a call: as many exist before the first call as after the last")
    func handlesAreMadeOnce() async throws {
        let metrics = CountingFactory()
        let a = try self.cluster.process(
            "a",
            .test { $0.observability = DistributedGroupConfiguration.Observability(metrics: metrics) }
        )
        let made = metrics.made
        #expect(made > 0)
        self.work.finish()
        for _ in 0..<20 { _ = await a.call(self.work).value }
        #expect(metrics.made == made)
    }

    @Test("whatever a group measures is declared, with its labels and their values, and all that is declared is there")
    func declared() throws {
        _ = try self.process("a", self.here)
        _ = try StreamProcess("s", on: self.cluster, .test { $0.observability = self.here.observability })
        let metrics = self.here.metrics
        var found: [String: Set<[String]>] = [:]
        func add(_ kind: MetricDefinition.Kind, _ label: String, _ dimensions: [(String, String)]) {
            let definition = GroupMetric.all.first { $0.name == label }
            #expect(definition?.kind == kind, "\(label)")
            #expect(definition?.labels.map(\.name) == dimensions.map(\.0), "\(label)")
            for (label, dimension) in zip(definition?.labels ?? [], dimensions) where !label.values.isEmpty {
                #expect(label.values.contains(dimension.1), "\(label.name): \(dimension.1)")
            }
            found[label, default: []].insert(dimensions.map(\.1))
        }
        for counter in metrics.counters { add(.counter, counter.label, counter.dimensions) }
        for timer in metrics.timers { add(.timer, timer.label, timer.dimensions) }
        for recorder in metrics.recorders { add(.distribution, recorder.label, recorder.dimensions) }
        for meter in metrics.meters { add(.gauge, meter.label, meter.dimensions) }
        #expect(Set(found.keys) == Set(GroupMetric.all.map(\.name)))
        for definition in GroupMetric.all {
            for (index, label) in definition.labels.enumerated() where !label.values.isEmpty {
                let values = Set((found[definition.name] ?? []).map { $0[index] })
                #expect(values == Set(label.values), "\(definition.name): \(label.name)")
            }
        }
    }
}

@Suite("A group that nobody watches", .timeLimit(.minutes(4)))
struct UnobservedTests {
    private func observer(_ observability: DistributedGroupConfiguration.Observability) -> GroupObserver? {
        GroupObserver(
            group: "group",
            clock: ManualLeaseClock(),
            observability,
            SerialWork(on: .inline(random: { .system }))
        )
    }

    @Test("has no observer: nothing is made or looked up for it")
    func off() {
        #expect(self.observer(DistributedGroupConfiguration.Observability()) == nil)
        #expect(self.observer(DistributedGroupConfiguration.Observability(metrics: NOOPMetricsHandler.instance)) == nil)
    }

    @Test("has one as soon as somebody wants to know anything")
    func on() {
        let observed = Observed()
        #expect(self.observer(DistributedGroupConfiguration.Observability(metrics: observed.metrics)) != nil)
        #expect(self.observer(DistributedGroupConfiguration.Observability(tracer: observed.tracer)) != nil)
        #expect(self.observer(DistributedGroupConfiguration.Observability(logger: observed.log.logger)) != nil)
    }

    @Test("takes the factory that is in force when it is made")
    func ambient() {
        let metrics = CountingFactory()
        withMetricsFactory(metrics) { _ = self.observer(DistributedGroupConfiguration.Observability()) }
        #expect(metrics.made > 0)
    }
}

import InMemoryTracing
import ObservabilityTestSupport
import SingleflightTestKit
import Testing
import Tracing

@testable import SingleflightLease

@Suite("Spans of calls", .timeLimit(.minutes(4)))
struct TracingTests {
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

    private func span(_ observed: Observed, _ role: String) -> FinishedInMemorySpan? {
        observed.tracer.finishedSpans.first { $0.attributes.get("sf.role") == .string(role) }
    }

    @Test("a follower's span and a subscriber's link to the leader's, which links to none")
    func links() async throws {
        let (a, b) = (try self.process("a", self.here), try self.process("b", self.there))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let subscriber = await a.joinedCall(self.other, clock: self.cluster.clock)
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        self.work.finish()
        for call in [leader, subscriber, follower] { _ = await call.value }

        let led = try #require(self.span(self.here, "leader"))
        let subscribed = try #require(self.span(self.here, "subscriber"))
        let followed = try #require(self.span(self.there, "follower"))
        #expect(led.links.isEmpty)
        for span in [subscribed, followed] {
            #expect(span.links.count == 1)
            #expect(span.links.first?.context.inMemorySpanContext?.spanID == led.spanID)
            #expect(span.links.first?.context.inMemorySpanContext?.traceID == led.traceID)
        }
        #expect(followed.traceID != led.traceID)
    }

    @Test("a span says what the caller was, what it got, and which flight it was")
    func attributes() async throws {
        let a = try self.process("a", self.here)
        self.work.finish()
        let completion = try await a.call(self.work).value.completion()
        let span = try #require(self.span(self.here, "leader"))
        #expect(span.operationName == "singleflight group")
        #expect(span.attributes.get("sf.group") == .string("group"))
        #expect(span.attributes.get("sf.outcome") == .string("value"))
        #expect(span.attributes.get("sf.token") == completion.token.map { .string($0.description) })
        #expect(span.attributes.get("sf.key") == nil)
        #expect(span.status == nil)
    }

    @Test("a call that failed has a span with the error and its status")
    func failure() async throws {
        let a = try self.process("a", self.here)
        self.work.finish(.failure(Failure()))
        _ = await a.call(self.work).value
        let span = try #require(self.span(self.here, "leader"))
        #expect(span.attributes.get("sf.outcome") == .string("failure"))
        #expect(span.attributes.get("error.type") == .string(String(reflecting: Failure.self)))
        #expect(span.errors.first?.error as? Failure == Failure())
        #expect(span.status?.code == .error)
    }

    @Test("a call whose flight was canceled has a span with the reason and the token")
    func canceled() async throws {
        let a = try self.process("a", self.here)
        let leader = a.call(self.work)
        await self.work.untilStarted()
        a.cutOff()
        self.cluster.clock.advance(by: .seconds(3))
        _ = await leader.value
        let span = try #require(self.here.tracer.finishedSpans.first)
        #expect(span.attributes.get("sf.outcome") == .string("canceled"))
        #expect(span.attributes.get("sf.reason") == .string("lease-expired"))
        #expect(span.attributes.get("error.type") == .string("lease-expired"))
        #expect(span.attributes.get("sf.token") == self.work.flight?.token.map { .string($0.description) })
        #expect(span.status?.code == .error)
    }

    @Test("a caller that leaves by its own wish has a span that tells so, and of no error")
    func left() async throws {
        let a = try self.process("a", self.here)
        let call = a.call(self.work)
        await self.work.untilStarted()
        call.cancel()
        _ = await call.value
        let span = try #require(self.here.tracer.finishedSpans.first)
        #expect(span.attributes.get("sf.outcome") == .string("left"))
        #expect(span.attributes.get("sf.reason") == .string("caller-canceled"))
        #expect(span.attributes.get("error.type") == nil)
        #expect(span.status == nil)
    }

    @Test("the operation runs within the span of the call that started it, which is a child of the caller's")
    func operation() async throws {
        let tracer = self.here.tracer
        let a = try self.process("a", self.here)
        let group = a.group
        let caller = tracer.startSpan("caller")
        let inside = await ServiceContext.withValue(caller.context) {
            try? await group.value("key") { _ in
                ServiceContext.current?.inMemorySpanContext?.spanID ?? "none"
            }
        }
        let span = try #require(self.span(self.here, "leader"))
        #expect(inside == span.spanID)
        #expect(span.spanContext.parentSpanID == caller.spanID)
    }

    @Test("an operation that runs without the store runs within the span of its call, too")
    func operationWithoutStore() async throws {
        let a = try self.process("a", self.here)
        a.store.onRequest { _ in .requestLost(LeaseStoreError(.protocolViolation, "no")) }
        let inside = try await a.group.value("key") { _ in
            ServiceContext.current?.inMemorySpanContext?.spanID ?? "none"
        }
        let span = try #require(self.span(self.here, "leader"))
        #expect(inside == span.spanID)
        #expect(span.attributes.get("sf.degraded") == .bool(true))
    }

    @Test("after a takeover the link leads to who led on, not to who was lost")
    func takeover() async throws {
        let takeOver: (inout DistributedGroupConfiguration) -> Void = { $0.lease.leaderLoss = .takeOver(attempts: 1) }
        let third = Observed()
        let a = try self.process("a", self.here, takeOver)
        let others = [try self.process("b", self.there, takeOver), try self.process("c", third, takeOver)]
        let lost = a.call(self.work)
        await self.work.untilStarted()
        let calls = others.map { $0.call(self.other) }
        await self.cluster.untilFollowed(by: 2)
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(3400))
        _ = await lost.value
        await self.other.untilStarted()
        self.other.finish()
        for call in calls { _ = await call.value }
        let led = try #require(self.span(self.there, "leader") ?? self.span(third, "leader"))
        let followed = try #require(self.span(self.there, "follower") ?? self.span(third, "follower"))
        #expect(followed.links.map { $0.context.inMemorySpanContext?.spanID } == [led.spanID])
    }

    @Test("a result that is used again links to the span that it comes from")
    func reuse() async throws {
        let a = try self.process("a", self.here) { $0.results.reuse = .seconds(2) }
        let b = try self.process("b", self.there) { $0.results.reuse = .seconds(2) }
        self.work.finish()
        _ = await a.call(self.work).value
        _ = await b.call(self.other).value
        let led = try #require(self.span(self.here, "leader"))
        let reused = try #require(self.span(self.there, "reused"))
        #expect(reused.links.map { $0.context.inMemorySpanContext?.spanID } == [led.spanID])
    }

    @Test("the lease tells whoever inspects it in which trace its leader is")
    func lease() async throws {
        let a = try self.process("a", self.here)
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let inspection = try await a.store.answer(to: InspectRequest(key: self.cluster.key)).get()
        self.work.finish()
        _ = await leader.value
        let span = try #require(self.span(self.here, "leader"))
        #expect(inspection.lease?.note.trace?.fields[InMemoryTracer.spanIDKey] == span.spanID)
    }

    @Test("the key is named only where that was asked for")
    func keys() async throws {
        let a = try self.cluster.process(
            "a",
            .test { $0.observability = self.here.observability(namesKeys: true) }
        )
        self.work.finish()
        _ = await a.call(self.work).value
        #expect(self.span(self.here, "leader")?.attributes.get("sf.key") == .string("key"))
        #expect(self.here.log.lines.contains { $0.metadata["sf_key"] == "key" })
    }
}

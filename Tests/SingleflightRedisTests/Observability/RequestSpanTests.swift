import HiredisClient
import InMemoryTracing
import ObservabilityTestSupport
import PrivateRedis
import SingleflightLease
import TestSupport
import Testing
import Tracing

@testable import SingleflightRedis

@Suite("Spans of requests to Redis", .timeLimit(.minutes(1)))
struct RequestSpanTests {
    private let tracer = InMemoryTracer(idGenerator: .random)

    /// The span of a request that is answered like this, and sent within another span.
    private func span(
        of request: LeaseRequest,
        to url: String = "redis://redis.internal:7000/3",
        publishesEvents: Bool = false,
        answer: Result<LeaseReply, LeaseStoreError>
    ) throws -> FinishedInMemorySpan {
        let configuration = RedisLeaseStoreConfiguration(publishesEvents: publishesEvents, tracer: self.tracer)
        let spans = try #require(RequestSpans(configuration, try RedisTarget(url)))
        let call = self.tracer.startSpan("call", context: .topLevel)
        ServiceContext.$current.withValue(call.context) {
            spans.observing(request) { _ in }(answer)
        }
        call.end()
        let span = try #require(self.tracer.finishedSpans.first { $0.kind == .client })
        #expect(span.spanContext.parentSpanID == call.spanID)
        return span
    }

    private func fence() throws -> LeaseRequest {
        var generator = SystemRandomNumberGenerator()
        let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
        return .fence(FenceRequest(key: key, token: LeaseToken(using: &generator)))
    }

    @Test("a span says which server was asked for what")
    func attributes() throws {
        let span = try self.span(of: self.fence(), answer: .success(.fence(.lost)))
        #expect(span.operationName == "EVALSHA fence")
        #expect(span.attributes.get("db.system.name") == .string("redis"))
        #expect(span.attributes.get("db.namespace") == .string("3"))
        #expect(span.attributes.get("db.operation.name") == .string("EVALSHA"))
        #expect(span.attributes.get("db.stored_procedure.name") == .string("fence"))
        #expect(span.attributes.get("server.address") == .string("redis.internal"))
        #expect(span.attributes.get("server.port") == .int64(7000))
        #expect(span.attributes.get("error.type") == nil)
        #expect(span.status == nil)
    }

    @Test("of a socket the path is the address, and there is no port")
    func socket() throws {
        let span = try self.span(
            of: self.fence(),
            to: "redis+unix://user:secret@/run/redis.sock",
            answer: .success(.fence(.lost))
        )
        #expect(span.attributes.get("server.address") == .string("/run/redis.sock"))
        #expect(span.attributes.get("server.port") == nil)
        #expect(span.attributes.get("db.namespace") == .string("0"))
    }

    @Test("a failure has its code, and the first word of what Redis answered")
    func failure() throws {
        let answer = RedisClientError.server(RedisServerError(message: "NOPERM this user has no permissions"))
        let error = LeaseStoreError(.refused, "not allowed", underlying: answer)
        let span = try self.span(of: self.fence(), answer: .failure(error))
        #expect(span.attributes.get("error.type") == .string("refused"))
        #expect(span.attributes.get("db.response.status_code") == .string("NOPERM"))
        #expect(span.status?.code == .error)
    }

    @Test("the requests of a call are spans in the call's span, one for each", .usesServer)
    func call() async throws {
        try await PrivateRedis.with { redis in
            let observed = Observed(group: "pages")
            let configuration = RedisLeaseStoreConfiguration(
                namespace: "test",
                commandTimeout: .seconds(10),
                tracer: observed.tracer
            )
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: configuration) { store in
                let group = try DistributedGroup<String, String>(
                    "pages",
                    store: store,
                    configuration: .init(
                        lease: .init(duration: .seconds(60)),
                        observability: observed.observability
                    )
                )
                _ = try await group.value("front") { flight in "\(try await flight.fence())" }
                // Outside of any span there is none: nobody would know what it belongs to.
                _ = try await store.inspected(FlightKey(group: "pages", bytes: Array("front".utf8)))
            }
            let call = try #require(observed.tracer.finishedSpans.first { $0.operationName == "singleflight pages" })
            let requests = observed.tracer.finishedSpans.filter { $0.kind == .client }
            #expect(requests.map(\.operationName) == ["SET", "EVALSHA fence", "EVALSHA complete"])
            for request in requests {
                #expect(request.spanContext.parentSpanID == call.spanID)
                #expect(request.attributes.get("db.system.name") == .string("redis"))
            }
        }
    }
}

import HiredisClient
import SingleflightLease
import Tracing

/// Makes a span of each request that is sent for somebody who has one, as OpenTelemetry's conventions for clients of
/// Redis say.
///
/// Renewals, and what is asked after a silence, are sent from the event loop and belong to nobody: a span of these
/// would be the root of a trace that says nothing.
struct RequestSpans: Sendable {
    private let tracer: any Tracer
    private let server: SpanAttributes
    private let publishesEvents: Bool

    /// `nil` if the spans would be thrown away.
    init?(_ configuration: RedisLeaseStoreConfiguration, _ target: RedisTarget) {
        let tracer = configuration.tracer ?? InstrumentationSystem.tracer
        guard !(tracer is NoOpTracer) else { return nil }
        self.tracer = tracer
        self.publishesEvents = configuration.publishesEvents
        var server: SpanAttributes = ["db.system.name": "redis", "db.namespace": "\(target.database)"]
        // Of several servers it is not known beforehand which one it will be.
        switch target.deployment {
        case .server(.tcp(let host, let port)):
            server["server.address"] = host
            server["server.port"] = port
        case .server(.unixSocket(let path)):
            server["server.address"] = path
        case .sentinel, .cluster:
            break
        }
        self.server = server
    }

    /// `reply`, which ends the request's span as well.
    func observing(_ request: LeaseRequest, _ reply: @escaping ReplyHandler<LeaseReply>) -> ReplyHandler<LeaseReply> {
        guard let context = ServiceContext.current else { return reply }
        let command = RequestCommand(request, publishesEvents: self.publishesEvents)
        let span = self.tracer.startSpan(command.spanName, context: context, ofKind: .client)
        span.updateAttributes { attributes in
            attributes.merge(self.server)
            attributes["db.operation.name"] = command.name
            attributes["db.stored_procedure.name"] = command.script
        }
        return { result in
            if case .failure(let error) = result {
                span.attributes["error.type"] = error.code.description
                if let code = (error.underlying as? RedisClientError)?.serverError?.code {
                    span.attributes["db.response.status_code"] = String(code)
                }
                span.setStatus(SpanStatus(code: .error, message: error.message))
            }
            span.end()
            reply(result)
        }
    }
}

/// The command that a request begins with.
private struct RequestCommand {
    var name = "EVALSHA"
    /// The operation of docs/protocol.md whose script is sent.
    var script: String?

    init(_ request: LeaseRequest, publishesEvents: Bool) {
        switch request {
        case .enter(let enter) where enter.takesFreeLease && !publishesEvents: self.name = "SET"
        default: self.script = request.kind.rawValue
        }
    }

    var spanName: String { self.script.map { "\(self.name) \($0)" } ?? self.name }
}

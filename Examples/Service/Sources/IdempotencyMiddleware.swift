import HTTPTypes
import Hummingbird
import SingleflightRedis

/// Answers a POST or PATCH that is sent again under its `Idempotency-Key` as it was answered the first time.
///
/// | the request | is answered |
/// |---|---|
/// | of another method | by the route: it changes nothing, or may be repeated as it is |
/// | without a key | 400 |
/// | the first under its key | by the route |
/// | the same, while the first one runs | as the first one; 409 when that takes too long |
/// | the same, within the window | as the first one, with `Idempotent-Replayed: true` |
/// | another one under the same key | 422 |
/// | the same, where the first one threw, was answered 5xx, or was lost | 503 if it waited, else by the route |
///
/// An answer that is too long to be kept is its first client's only: a repetition is told so, with 409. What
/// `Idempotency` does not do, this does not do either.
struct IdempotencyMiddleware<Context: RequestContext>: RouterMiddleware {
    /// What is not kept, so that the client may send its request again.
    private struct NotKept: Error {
        var response: Response
    }

    /// No value: it was too long.
    private let requests: Idempotency<StoredResponse?>
    private let maximumBytes: Int
    private let tenant: @Sendable (Request, Context) throws -> String

    /// - Parameters:
    ///   - maximumBytes: how long a request's body may be, and an answer's that is kept.
    ///   - tenant: who asks.
    init(
        _ requests: Idempotency<StoredResponse?>,
        maximumBytes: Int = 64 * 1024,
        tenant: @escaping @Sendable (Request, Context) throws -> String
    ) {
        self.requests = requests
        self.maximumBytes = maximumBytes
        self.tenant = tenant
    }

    func handle(
        _ request: Request,
        context: Context,
        next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard request.method == .post || request.method == .patch else { return try await next(request, context) }
        guard let key = Self.key(of: request), !key.isEmpty else {
            throw HTTPError(.badRequest, message: "the header Idempotency-Key is missing")
        }
        var request = request
        let body = try await request.collectBody(upTo: self.maximumBytes)
        let fingerprint = Fingerprint.of(
            request.method.rawValue.utf8,
            request.uri.description.utf8,
            body.readableBytesView
        )
        // The first client gets the route's own response: with all of its headers, and also if it is too long to be
        // kept.
        var own: Response?
        let outcome: Idempotency<StoredResponse?>.Outcome
        do {
            outcome = try await self.requests.run(
                tenant: try self.tenant(request, context),
                key: key,
                fingerprint: fingerprint
            ) {
                var response = try await self.response(to: request, context: context, next: next)
                let stored = try await StoredResponse(&response, upTo: self.maximumBytes)
                own = response
                return stored
            }
        } catch let error as NotKept {
            return error.response
        }
        switch outcome {
        case .ran(let stored, let isKept):
            if !isKept { context.logger.warning("an answer could not be kept: its request may run again") }
            return try own ?? self.response(stored)
        case .joined(let stored):
            return try self.response(stored)
        case .replayed(let stored):
            var response = try self.response(stored)
            if let name = HTTPField.Name("Idempotent-Replayed") { response.headers[name] = "true" }
            return response
        case .anotherRequest:
            throw HTTPError(.unprocessableContent, message: "this idempotency key was used for another request")
        case .running:
            throw HTTPError(
                .conflict,
                headers: [.retryAfter: "1"],
                message: "the request under this key is still being worked on"
            )
        case .failed(let reason):
            // Not told to the client: it may be any error of the route's.
            context.logger.warning("a repeated request has no answer", metadata: ["reason": "\(reason)"])
            throw HTTPError(
                .serviceUnavailable,
                headers: [.retryAfter: "1"],
                message: "the request under this key has no answer: send it again"
            )
        }
    }

    static func key(of request: Request) -> String? {
        HTTPField.Name("Idempotency-Key").flatMap { request.headers[$0] }
    }

    /// The route's answer. An error that is one is kept like any other: what was refused stays refused.
    private func response(
        to request: Request,
        context: Context,
        next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let response: Response
        do {
            response = try await next(request, context)
        } catch let error as any HTTPResponseError {
            response = try error.response(from: request, context: context)
        }
        guard response.status.code < 500 else { throw NotKept(response: response) }
        return response
    }

    private func response(_ stored: StoredResponse?) throws -> Response {
        guard let stored else {
            throw HTTPError(.conflict, message: "this request was answered, with more than is kept")
        }
        return stored.response
    }
}

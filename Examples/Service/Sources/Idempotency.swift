import HTTPTypes
import Hummingbird
import SingleflightRedis

/// Runs what a client sends under one idempotency key once, and gives every repetition the same answer.
///
/// A request that comes while the first one runs, on this host or another, waits for it. One that comes within the
/// group's time of reuse is given what was answered then. The same key with another request is refused.
struct Idempotency {
    struct Answer: Codable, Sendable {
        /// The request that was answered. Of large requests a digest would do.
        var request: String
        var status: Int
        var body: String
    }

    let answers: DistributedGroup<CompoundKey, Answer>

    init(store: any LeaseStore) throws {
        let configuration = DistributedGroupConfiguration(
            // Longer than a client goes on repeating a request. Errors are not kept: such a request may be sent again.
            results: .init(reuse: .seconds(600)),
            // Without coordination the same order could be placed on two hosts.
            unavailable: .fail
        )
        self.answers = try DistributedGroup("idempotency", store: store, configuration: configuration)
    }

    /// - Parameters:
    ///   - tenant: who asks. A key is a secret of nobody: two tenants may choose the same one.
    ///   - key: the value of the header `Idempotency-Key`.
    ///   - request: all that the answer depends on.
    func answer(
        tenant: String,
        key: String,
        request: String,
        _ work: @escaping @Sendable () async throws -> (status: Int, body: String)
    ) async throws -> Response {
        let outcome = await self.answers.run(CompoundKey(tenant, key), waitingAtMost: .seconds(10)) { _ in
            let (status, body) = try await work()
            return Answer(request: request, status: status, body: body)
        }
        switch outcome {
        case .complete(let completion):
            let answer = try completion.result.get()
            guard answer.request == request else {
                throw HTTPError(.unprocessableContent, message: "this idempotency key was used for another request")
            }
            var response = Response(
                status: .init(code: answer.status),
                body: .init(byteBuffer: ByteBuffer(string: answer.body))
            )
            if completion.source == .reused, let name = HTTPField.Name("Idempotent-Replayed") {
                response.headers[name] = "true"
            }
            return response
        case .canceled(let reason) where reason == .waitLimitReached:
            throw HTTPError(.conflict, message: "the request under this key is still being worked on")
        case .canceled(let reason):
            throw HTTPError(.serviceUnavailable, message: "\(reason)")
        }
    }
}

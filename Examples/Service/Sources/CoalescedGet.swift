import HTTPTypes
import Hummingbird
import SingleflightRedis

/// Gives the clients that ask for one thing at one time one answer, which the route's handler makes for one of them, on
/// whatever host.
///
/// What one thing is, the route says by its key. The path alone never is a key: whatever else the answer depends on
/// belongs in it, too, the tenant and the credentials above all, and the language if it is negotiated.
///
/// What this does not do:
/// - It keeps nothing. A request that comes when the answer is there runs the handler again.
/// - Only a short answer of the status 200, without cookies, is shared. After any other, and where the process that
///   made it was lost, the handler runs for each client that waited, at the same time.
/// - It does not see a client hang up: the handler goes on to its end. Where that is too dear, coalesce the value in
///   the handler, as `Reports` does.
struct CoalescedGet<Context: RequestContext>: RouterMiddleware {
    /// What the request whose handler ran has for the others.
    private enum Answer: Codable, Sendable {
        case shared(StoredResponse)
        /// Nothing.
        case own
    }

    private let answers: DistributedGroup<CompoundKey, Answer>
    private let maximumBytes: Int
    private let key: @Sendable (Request, Context) throws -> CompoundKey?

    /// - Parameters:
    ///   - name: of the group. One for all routes will do where their paths are part of their keys.
    ///   - maximumBytes: how long a body may be that is shared.
    ///   - key: all that the answer depends on; `nil` for a request that is not to be coalesced.
    init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration = .init(),
        maximumBytes: Int = 64 * 1024,
        key: @escaping @Sendable (Request, Context) throws -> CompoundKey?
    ) throws {
        self.answers = try DistributedGroup(name, store: store, configuration: configuration)
        self.maximumBytes = maximumBytes
        self.key = key
    }

    func handle(
        _ request: Request,
        context: Context,
        next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard request.method == .get, let key = try self.key(request, context) else {
            return try await next(request, context)
        }
        // By hand, as `next` must not be called when this method has returned, which an operation could.
        switch await self.answers.entry(key) {
        case .leader(let leader):
            do {
                var response = try await leader.onBehalf { try await next(request, context) }
                leader.complete(.success(try await self.answer(&response)))
                return response
            } catch {
                leader.complete(.success(.own))
                throw error
            }
        case .subscriber(let subscriber):
            if case .complete(let completion) = await subscriber.outcome(),
                case .success(.shared(let answer)) = completion.result
            {
                return answer.response
            }
            return try await next(request, context)
        }
    }

    private func answer(_ response: inout Response) async throws -> Answer {
        guard response.status == .ok, response.headers[.setCookie] == nil,
            let stored = try await StoredResponse(&response, upTo: self.maximumBytes)
        else { return .own }
        return .shared(stored)
    }
}

import HiredisClient
import SingleflightLease

/// The connection for long results, in both directions. A renewal that stood behind one of them would come too late.
///
/// It is made for the first long result. A request on it may take as long as some of it moves, within a limit.
final class PayloadConnection: Sendable {
    /// What is longer goes here. It is what announcements carry at most, too.
    static let threshold = 64 << 10

    private let client: RedisDeploymentClient
    private let timeout: Duration

    init(_ client: RedisDeploymentClient, timeout: Duration) {
        self.client = client
        self.timeout = timeout
    }

    /// How such a connection is set up.
    static func configuration(
        _ client: RedisClientConfiguration,
        _ configuration: RedisLeaseStoreConfiguration
    ) -> RedisClientConfiguration {
        var client = client
        client.purpose = .payloads
        client.findsClusters = false
        client.maximumQueuedBytes = max(client.maximumQueuedBytes, 2 * configuration.maximumStoredBytes)
        return client
    }

    /// Evaluates a script, which may be done twice, as with every request under a token.
    ///
    /// A transfer that was cut is tried once more.
    ///
    /// - Parameter completion: gets the result, and whether it was cut both times: what fails so fails for its length.
    func evaluate(
        _ script: RedisScript,
        keys: [RedisArgument],
        arguments: [RedisArgument],
        at place: RedisOrder,
        completion: @escaping @Sendable (Result<RESPValue, RedisClientError>, _ wasCutTwice: Bool) -> Void
    ) {
        let send = { @Sendable (completion: @escaping RedisClient.Completion) in
            self.client.evaluateLong(
                script,
                keys: keys,
                arguments: arguments,
                timeout: self.timeout,
                order: place,
                completion: completion
            )
        }
        send { first in
            guard Self.wasCut(first) else { return completion(first, false) }
            send { second in
                if case .failure(let error) = second, !error.mayHaveExecuted {
                    // What became of the first is as open as before.
                    return completion(first, false)
                }
                completion(second, Self.wasCut(second))
            }
        }
    }

    private static func wasCut(_ result: Result<RESPValue, RedisClientError>) -> Bool {
        guard case .failure(let error) = result else { return false }
        return error.code == .unknownOutcome || error.code == .timedOut
    }
}

extension LeaseStoreError {
    static func tooLarge(_ bytes: Int, limit: Int) -> LeaseStoreError {
        LeaseStoreError(.tooLarge, "the result has \(bytes) bytes, more than the \(limit) that this process takes")
    }

    static func tooLarge(_ bytes: Int, because error: LeaseStoreError) -> LeaseStoreError {
        LeaseStoreError(
            .tooLarge,
            "the result of \(bytes) bytes could not be passed on in two attempts: \(error.message)",
            mayHaveExecuted: true,
            underlying: error
        )
    }
}

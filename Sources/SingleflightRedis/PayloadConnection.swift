import HiredisClient
import Logging
import NIOCore
import SingleflightLease

/// The connection for long results, in both directions. A renewal that stood behind one of them would come too late.
///
/// It is made for the first long result. A request on it may take as long as some of it moves, within a limit.
final class PayloadConnection: Sendable {
    /// What is longer goes here. It is what announcements carry at most, too.
    static let threshold = 64 << 10

    private let client: RedisClient
    private let timeout: Duration

    init(
        _ client: RedisClientConfiguration,
        _ configuration: RedisLeaseStoreConfiguration,
        on eventLoop: any EventLoop,
        logger: Logger
    ) {
        var client = client
        client.purpose = .payloads
        client.maximumQueuedBytes = max(client.maximumQueuedBytes, 2 * configuration.maximumStoredBytes)
        self.client = RedisClient(configuration: client, group: eventLoop, logger: logger)
        self.timeout = configuration.payloadTimeout
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
        completion: @escaping @Sendable (Result<RESPValue, RedisClientError>, _ wasCutTwice: Bool) -> Void
    ) {
        self.client.start()
        self.client.evaluate(script, keys: keys, arguments: arguments, timeout: self.timeout) { first in
            guard Self.wasCut(first) else { return completion(first, false) }
            self.client.evaluate(script, keys: keys, arguments: arguments, timeout: self.timeout) { second in
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

    func shutdown() async {
        await self.client.shutdown()
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

import Logging

/// What becomes of a kept connection, for those who count.
package struct ConnectionEvent: Sendable {
    package enum Change: Sendable {
        /// It is usable: for the first time, or again.
        case connected(isFirst: Bool)
        /// It was lost.
        case lost(RedisClientError.Code)
        /// An attempt to make it failed.
        case notMade(RedisClientError.Code)
    }

    /// Which of a client's connections it is.
    package enum Purpose: String, CaseIterable, Sendable {
        case commands, payloads, inbox, sentinel
    }

    package var purpose: Purpose
    package var change: Change
}

/// Tells of one connection's life: every step to those who count, and to the log at a level that fits. The policy is in
/// docs/observability.md: what a person should look at is a warning, and there is one for each outage, not for each
/// attempt.
struct ConnectionReporter {
    private let target: RedisTarget
    private let purpose: ConnectionEvent.Purpose
    private let logger: Logger
    private let onEvent: (@Sendable (ConnectionEvent) -> Void)?
    private var wasConnected = false
    /// Why there is no connection, as the last warning has it.
    private var warned: RedisClientError.Code?

    init(configuration: RedisClientConfiguration, purpose: ConnectionEvent.Purpose, logger: Logger) {
        self.target = configuration.target
        self.purpose = purpose
        self.logger = logger
        self.onEvent = configuration.onConnectionEvent
    }

    func connecting(attempt: UInt64) {
        logger.trace("connecting to redis", metadata: metadata(["sf_attempt": "\(attempt)"]))
    }

    mutating func connected(attempt: UInt64) {
        logger.info("connected to redis", metadata: metadata(["sf_attempt": "\(attempt)"]))
        warned = nil
        onEvent?(ConnectionEvent(purpose: purpose, change: .connected(isFirst: !wasConnected)))
        wasConnected = true
    }

    mutating func failed(_ reason: RedisClientError, wasConnected: Bool, retryIn delay: Duration) {
        let metadata = metadata(["sf_error": "\(reason)", "sf_retry_in": "\(delay)"])
        if wasConnected {
            logger.info("connection to redis lost", metadata: metadata)
        } else if reason.code == .cluster {
            logger.debug("the server is a node of a cluster", metadata: metadata)
        } else if warned == reason.code {
            logger.debug("redis still cannot be used", metadata: metadata)
        } else {
            warned = reason.code
            logger.warning("redis cannot be used", metadata: metadata)
        }
        onEvent?(
            ConnectionEvent(purpose: purpose, change: wasConnected ? .lost(reason.code) : .notMade(reason.code))
        )
    }

    private func metadata(_ more: Logger.Metadata) -> Logger.Metadata {
        more.merging(["sf_url": "\(target)", "sf_connection": "\(purpose.rawValue)"]) { _, new in new }
    }
}

public import CoreMetrics
import HiredisClient
import SingleflightLease
public import Tracing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Names and limits of a ``RedisLeaseStore``.
public struct RedisLeaseStoreConfiguration: Sendable {
    /// Tells the flights of one application from those of another in the same Redis: 1 to 64 of `A-Za-z0-9._-`.
    public var namespace: String
    /// What people see of this process when they inspect its leases; `host:pid` unless chosen otherwise.
    public var label: String
    /// The time within which every request to Redis is answered, if need be with an error. 10 ms to 1 min.
    public var commandTimeout: Duration
    /// How long an encoded result may be that is passed on, in bytes; 1 KiB to 500 MiB. `maximumResultBytes` of a group
    /// can be no more.
    ///
    /// Redis itself takes 512 MiB, unless its `proto-max-bulk-len` says otherwise. Results above 64 KiB have a
    /// connection of their own, which is made for the first one.
    public var maximumPayloadBytes: Int
    /// How long such a result may be on its way in all, as long as some of it moves within each command timeout. At
    /// least that, and up to 1 h.
    public var payloadTimeout: Duration
    /// Whether this process tells watchers what becomes of flights: see ``RedisLeaseStore/events()``.
    ///
    /// Off unless asked for, and then it costs nothing. On, every step of a flight costs the server a PUBLISH, and a
    /// flight that nobody shares begins with a script instead of a native command: some 10 µs of the server's time more
    /// in all.
    public var publishesEvents: Bool
    /// Whether a lease counts before replicas have it; for a primary with replicas only.
    public var confirm: LeaseConfirmation
    /// Whether scripts are sent in the form for servers before 7.0 from the start; for tests of that form.
    package var usesLegacyScripts = false
    /// The factory of the counters of reconnects and the like; `nil` for the factory that `MetricsSystem` has when the
    /// store is made. So bootstrap first.
    ///
    /// What groups measure, each of them says itself: `DistributedGroupConfiguration.observability`.
    public var metrics: (any MetricsFactory)?
    /// Makes a span for each request to Redis that is sent within another span; `nil` for the tracer that
    /// `InstrumentationSystem` has when the store is made. So bootstrap first.
    public var tracer: (any Tracer)?

    /// Creates a configuration; it is checked when a store is made with it.
    public init(
        namespace: String = "default",
        label: String = RedisLeaseStoreConfiguration.defaultLabel,
        commandTimeout: Duration = .seconds(1),
        maximumPayloadBytes: Int = 16 * 1024 * 1024,
        payloadTimeout: Duration = .seconds(60),
        publishesEvents: Bool = false,
        confirm: LeaseConfirmation = .none,
        metrics: (any MetricsFactory)? = nil,
        tracer: (any Tracer)? = nil
    ) {
        self.namespace = namespace
        self.label = label
        self.commandTimeout = commandTimeout
        self.maximumPayloadBytes = maximumPayloadBytes
        self.payloadTimeout = payloadTimeout
        self.publishesEvents = publishesEvents
        self.confirm = confirm
        self.metrics = metrics
        self.tracer = tracer
    }

    /// `host:pid` of this process.
    public static var defaultLabel: String {
        var name = [CChar](repeating: 0, count: 256)
        let isKnown = gethostname(&name, name.count - 1) == 0
        let host = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return "\(isKnown && !host.isEmpty ? host : "unknown"):\(getpid())"
    }

    func check() throws(LeaseStoreError) {
        guard FlightKey.isName(self.namespace) else {
            throw LeaseStoreError(
                .invalidRequest,
                "the namespace \(self.namespace.debugDescription) is not 1 to 64 of A-Z a-z 0-9 . _ -"
            )
        }
        guard (Duration.milliseconds(10)...Duration.seconds(60)).contains(self.commandTimeout) else {
            throw LeaseStoreError(.invalidRequest, "commandTimeout is \(self.commandTimeout), not 10 ms to 1 min")
        }
        guard (1 << 10...500 << 20).contains(self.maximumPayloadBytes) else {
            throw LeaseStoreError(
                .invalidRequest,
                "maximumPayloadBytes is \(self.maximumPayloadBytes), not 1 KiB to 500 MiB"
            )
        }
        guard (self.commandTimeout...max(self.commandTimeout, .seconds(3600))).contains(self.payloadTimeout) else {
            throw LeaseStoreError(
                .invalidRequest,
                "payloadTimeout is \(self.payloadTimeout), not commandTimeout (\(self.commandTimeout)) to 1 h"
            )
        }
        if case .replicas(let count, let limit) = self.confirm {
            // The server answers nothing else meanwhile: a longer wait would be taken for silence.
            guard count > 0, limit >= .milliseconds(1), limit <= self.commandTimeout / 2 else {
                throw LeaseStoreError(
                    .invalidRequest,
                    "confirm wants one replica at least, and 1 ms to half the command timeout"
                )
            }
        }
        guard self.label.utf8.count <= 200 else {
            throw LeaseStoreError(.invalidRequest, "the label has \(self.label.utf8.count) bytes, more than 200")
        }
    }

    /// A result as Redis keeps it: with what the group and the protocol put in front.
    var maximumStoredBytes: Int { self.maximumPayloadBytes + 64 << 10 }

    static func target(url: String) throws(LeaseStoreError) -> RedisTarget {
        do {
            return try RedisTarget(url)
        } catch {
            throw LeaseStoreError(.invalidRequest, "\(error)", underlying: error)
        }
    }

    func client(_ target: RedisTarget, inbox: InboxID) throws(LeaseStoreError) -> RedisClientConfiguration {
        if let fault = target.fault {
            throw LeaseStoreError(.invalidRequest, "\(fault)", underlying: fault)
        }
        var client = RedisClientConfiguration(target)
        client.clientName = "sf:\(inbox)"
        client.commandTimeout = self.commandTimeout
        client.limits.maximumBulkBytes = self.maximumStoredBytes
        // Redis has none that is longer, unless told otherwise.
        client.limits.maximumSkippedBytes = 512 << 20
        client.limits.maximumReplyBytes = max(client.limits.maximumReplyBytes, self.maximumStoredBytes + 1 << 20)
        client.scripts = LeaseScripts.all
        if case .server(.tcp) = target.deployment { client.findsClusters = true }
        client.usesLegacyScripts = self.usesLegacyScripts
        return client
    }
}

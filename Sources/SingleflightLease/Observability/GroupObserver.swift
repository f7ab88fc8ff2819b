import CoreMetrics
import Logging
import Synchronization
import Tracing

/// Tells metrics, spans and log what one group does. A group that has nobody to tell has none of these, and its
/// calls and flights do nothing for it.
final class GroupObserver: Sendable {
    let group: String
    let clock: any LeaseClock
    let metrics: GroupMetrics?
    let tracer: (any Tracer)?
    let logger: Logger?
    let namesKeys: Bool
    /// Where what happens on a store's thread is told.
    let work: SerialWork
    private let spanName: String
    private let degradation = Mutex(DegradationEpisode())

    /// `nil` if there is nobody to tell.
    init?(
        group: String,
        clock: any LeaseClock,
        _ observability: DistributedGroupConfiguration.Observability,
        _ work: SerialWork,
        hasStreams: Bool = false
    ) {
        let factory = MetricDefinition.effectiveFactory(observability.metrics)
        let tracer = observability.tracer ?? InstrumentationSystem.tracer
        self.group = group
        self.clock = clock
        self.metrics = factory.map { GroupMetrics(group: group, factory: $0, hasStreams: hasStreams) }
        self.tracer = tracer is NoOpTracer ? nil : tracer
        self.logger = observability.logger.map { logger in
            var logger = logger
            logger[metadataKey: "sf_group"] = "\(group)"
            return logger
        }
        self.namesKeys = observability.namesKeys
        self.work = work
        self.spanName = "singleflight \(group)"
        if self.metrics == nil, self.tracer == nil, self.logger == nil { return nil }
    }

    /// A call begins.
    func call(_ key: FlightKey, at calledAt: LeaseInstant) -> CallObserver {
        let name = self.namesKeys ? String(shown: key.bytes) : nil
        let span = self.tracer.map { $0.startSpan(self.spanName, context: .current ?? .topLevel, ofKind: .internal) }
        span?.updateAttributes { attributes in
            attributes["sf.group"] = self.group
            if let name { attributes["sf.key"] = name }
        }
        return CallObserver(group: self, key: name, calledAt: calledAt, span: span)
    }

    /// A refresh begins, which no span is about: it belongs to no call.
    func refresh(_ key: FlightKey, at now: LeaseInstant) -> CallObserver {
        let name = self.namesKeys ? String(shown: key.bytes) : nil
        return CallObserver(group: self, key: name, calledAt: now, span: nil)
    }

    /// A call had an outcome, with the store or without.
    func coordinated(_ isCoordinated: Bool) {
        guard let logger else { return }
        let now = self.clock.now
        switch self.degradation.withLock({ $0.observed(isCoordinated: isCoordinated, now: now) }) {
        case .began: logger.warning("calls go without the store: it cannot be asked")
        case .ended: logger.info("calls are coordinated by the store again")
        case nil: break
        }
    }
}

/// Finds the first of the calls that went without the store, and the first that did not: one line for each outage, not
/// for each call, and none for outages that follow one another closely.
struct DegradationEpisode {
    enum Change: Hashable {
        case began
        case ended
    }

    /// Of two outages that begin within this time the second is not told.
    static let quietTime = Duration.seconds(60)

    private var isDegraded = false
    private var wasTold = false
    private var toldAt: LeaseInstant?

    mutating func observed(isCoordinated: Bool, now: LeaseInstant) -> Change? {
        switch (self.isDegraded, isCoordinated) {
        case (false, true), (true, false):
            return nil
        case (false, false):
            self.isDegraded = true
            if let toldAt, toldAt.duration(to: now) < Self.quietTime { return nil }
            self.toldAt = now
            self.wasTold = true
            return .began
        case (true, true):
            self.isDegraded = false
            defer { self.wasTold = false }
            return self.wasTold ? .ended : nil
        }
    }
}

import Singleflight
import Synchronization

/// What a group in the mode ``CoalescingMode/observe`` has seen.
///
/// A call *would have been coalesced* if, when it came, the computation of its key was in flight in a call that itself
/// would not have been coalesced: in this process or, by the store's word, in another. Such a computation is in flight
/// until its own call ends. A group that coalesces would have given later calls that result, and run nothing.
public struct ObservedCalls: Hashable, Sendable, CustomStringConvertible {
    /// The calls that were made, with ``DistributedGroup/entry(_:unavailable:)`` among them.
    public var calls = 0
    /// Calls that would have had the result of a computation in this process.
    public var coalescedHere = 0
    /// Calls that would have had the result of a computation in another process.
    public var coalescedElsewhere = 0
    /// Calls that would have had the result of an earlier computation, within the group's reuse time.
    public var reused = 0
    /// Calls that would have run their own operation.
    public var led = 0
    /// Calls whose store could not be asked.
    public var unknown = 0

    /// Creates an observation of nothing.
    public init() {}

    /// The figures on one line.
    public var description: String {
        "\(self.calls) calls: \(self.led) led, \(self.coalescedHere) coalesced here, \(self.coalescedElsewhere) elsewhere, "
            + "\(self.reused) reused, \(self.unknown) unknown"
    }

    /// Calls that would have run nothing.
    public var coalesced: Int { self.coalescedHere + self.coalescedElsewhere + self.reused }

    /// Calls of which it is not known yet what would have become.
    public var undecided: Int { self.calls - self.coalesced - self.led - self.unknown }
}

/// What would have become of one call.
package enum ObservedVerdict: String, MetricWord {
    /// It would have run its operation.
    case led
    /// It would have had the result of a computation in this process, in another, or of an earlier one.
    case here, elsewhere, reused
    /// The store could not be asked.
    case unknown
}

/// The flights that a group would have had: real ones, under a name of their own, whose results are empty.
///
/// The first call of a key begins one, which ends when that call ends; calls that find it here count at once and cost
/// the store nothing.
final class ObservedFlights: Sendable {
    /// What stands behind a group's name where the store keeps what it learns by observing. No group's own name ends
    /// so.
    static var suffix: String { ".observe" }

    private let context: FlightContext
    private let index = FlightIndex()
    private let metrics: GroupMetrics?
    private let counts = Mutex(ObservedCalls())

    convenience init(of group: FlightContext, metrics: GroupMetrics?) throws(DistributedGroupError) {
        guard FlightKey.isName(group.group + Self.suffix) else {
            throw DistributedGroupError(
                .invalidConfiguration,
                "the name of a group that observes has at most \(64 - Self.suffix.utf8.count) characters, "
                    + "not \(group.group.utf8.count)"
            )
        }
        self.init(ofChecked: group, metrics: metrics)
    }

    /// Of a group whose name leaves room for the suffix.
    init(ofChecked group: FlightContext, metrics: GroupMetrics?) {
        self.metrics = metrics
        self.context = FlightContext(
            group: group.group + (Planted.bug("observed-under-the-groups-own-name") ? "" : Self.suffix),
            store: group.store,
            terms: group.terms,
            coder: PayloadCoder(
                codec: ErasedCodec(BytesCodec()),
                typedFailures: nil,
                maximumResultBytes: 0,
                label: group.store.label
            ),
            runtime: group.runtime
        )
    }

    var calls: ObservedCalls { self.counts.withLock { $0 } }

    /// A call has come. Waits for nothing.
    func begin(_ key: FlightKey) -> ObservedCall {
        self.counts.withLock { $0.calls += 1 }
        let observedKey = FlightKey(checkedGroup: self.context.group, bytes: key.bytes)
        let entrance = self.index.enter(observedKey) {
            FlightDriver(
                observedKey,
                .leased(canTakeOver: false),
                self.context,
                in: self.index,
                isByHand: true
            )
        }
        switch entrance {
        case .reentrant, .full:
            // It came from inside of its own flight, which ends no sooner than that.
            self.count(.here)
            return ObservedCall(nil)
        case .joined(let driver, let seat):
            driver.leave(seat)
            if !Planted.bug("observed-call-not-counted") { self.count(.here) }
            return ObservedCall(nil)
        case .started(let driver):
            driver.onDecision { decision in
                switch decision {
                case .leads: self.count(.led)
                case .follows: self.count(.elsewhere)
                case .reuses: self.count(.reused)
                case .over: self.count(.unknown)
                }
            }
            // The starter's place is never left: the call would have stayed until the flight's end, wherever that comes
            // from.
            driver.begin(nil)
            return ObservedCall(driver)
        }
    }

    /// The one place where a verdict is counted.
    private func count(_ verdict: ObservedVerdict) {
        self.metrics?.observed(verdict)
        self.counts.withLock { counts in
            switch verdict {
            case .led: counts.led += 1
            case .here: counts.coalescedHere += 1
            case .elsewhere: counts.coalescedElsewhere += 1
            case .reused: counts.reused += 1
            case .unknown: counts.unknown += 1
            }
        }
    }
}

/// One call that is observed.
package struct ObservedCall: Sendable {
    /// The flight that the call would have led, or begun to follow; nil if it would have joined one here.
    private let driver: FlightDriver?

    init(_ driver: FlightDriver?) {
        self.driver = driver
    }

    /// The call has ended: so does the flight, if it would have led it.
    func end() {
        self.driver?.handInOnceLeading(.success(ErasedValue([UInt8]())))
    }

    /// The path of code that runs on behalf of the flight, and of others.
    func path(inside outer: FlightPath) -> FlightPath {
        self.driver?.path(inside: outer) ?? outer
    }

    /// Runs the call's work on behalf of the flight.
    func perform<T>(_ work: () async throws -> T) async rethrows -> T {
        guard let driver else { return try await work() }
        return try await driver.perform(work)
    }
}

import Singleflight
import Synchronization

/// What a group in the mode ``CoalescingMode/observe`` has seen.
///
/// A call *would have been coalesced* if, when it came, the computation of its key was in flight in a call that itself would not have
/// been coalesced: in this process or, by the store's word, in another. Such a computation is in flight until its own call ends.
/// Whoever coalesces from then on would have had that call's result, and run nothing.
public struct ObservedCalls: Hashable, Sendable {
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
/// The first call of a key begins one, which ends when that call ends; calls that find it here count at once and cost the store nothing.
final class ObservedFlights: Sendable {
    private static var suffix: String { ".observe" }

    private let name: String
    private let store: any LeaseStore
    private let terms: FlightTerms
    private let coder: PayloadCoder<ErasedValue>
    private let metrics: GroupMetrics?
    private let group = Group<ErasedKey, LocalResolution<ErasedValue>>()
    private let counts = Mutex(ObservedCalls())

    init(
        group: String,
        store: any LeaseStore,
        terms: FlightTerms,
        metrics: GroupMetrics?
    ) throws(DistributedGroupError) {
        let name = group + Self.suffix
        guard FlightKey.isName(name) else {
            throw DistributedGroupError(
                .invalidConfiguration,
                "the name of a group that observes has at most \(64 - Self.suffix.utf8.count) characters, not \(group.utf8.count)"
            )
        }
        self.name = name
        self.store = store
        self.terms = terms
        self.metrics = metrics
        self.coder = PayloadCoder(
            codec: ErasedCodec(BytesCodec()),
            typedFailures: nil,
            maximumResultBytes: 0,
            label: store.label
        )
    }

    var calls: ObservedCalls { self.counts.withLock { $0 } }

    /// A call has come. Waits for nothing.
    func begin(_ key: ErasedKey) -> ObservedCall {
        self.counts.withLock { $0.calls += 1 }
        switch self.group.entry(key, work: { LocalFlight(key: key, coder: self.coder, isByHand: true) }) {
        case .refused:
            // It came from inside of its own flight, which ends no sooner than that.
            self.count(.here)
            return ObservedCall(nil)
        case .subscriber(let seat, _):
            seat.leave()
            self.count(.here)
            return ObservedCall(nil)
        case .leader(let leader, let seat, let flight):
            let driver = FlightDriver(
                key: FlightKey(checkedGroup: self.name, bytes: key.flightKeyBytes),
                store: self.store,
                terms: self.terms,
                tooLong: self.coder.encode(DistributedGroupError.flightTooLong),
                random: .system,
                owner: flight,
                canTakeOver: false
            )
            flight.begin(leader, driver, nil)
            flight.onDecision { decision in
                switch decision {
                case .leads: self.count(.led)
                case .follows: self.count(.elsewhere)
                case .reuses: self.count(.reused)
                case .over: self.count(.unknown)
                }
            }
            // The call would have stayed until the flight's end, wherever that comes from.
            _ = flight.onEnd { _ in withExtendedLifetime(seat) {} }
            driver.start()
            return ObservedCall(flight)
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
struct ObservedCall: Sendable {
    /// The flight that the call would have led, or begun to follow; nil if it would have joined one here.
    private let flight: LocalFlight?

    init(_ flight: LocalFlight?) {
        self.flight = flight
    }

    /// The call has ended: so does the flight, if it would have led it.
    func end() {
        self.flight?.handInOnceLeading(.success(ErasedValue([UInt8]())))
    }

    /// Runs the call's work on behalf of the flight.
    func perform<T: Sendable>(_ work: () async throws -> T) async rethrows -> T {
        guard let flight else { return try await work() }
        return try await flight.perform(work)
    }
}

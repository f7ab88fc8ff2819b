import Singleflight

/// What all flights of one group share.
package final class FlightContext: Sendable {
    /// The group's name.
    let group: String
    let store: any LeaseStore
    let terms: FlightTerms
    let coder: PayloadCoder<ErasedValue>
    /// The outcome of a flight whose operation ran longer than a flight may.
    let tooLong: StoredOutcome
    let runtime: FlightRuntime
    /// How many callers of this process may wait for one key beside the one that began the flight.
    let maximumWaiters: Int?

    package init(
        group: String,
        store: any LeaseStore,
        terms: FlightTerms,
        coder: PayloadCoder<ErasedValue>,
        runtime: FlightRuntime,
        maximumWaiters: Int? = nil
    ) {
        self.group = group
        self.store = store
        self.terms = terms
        self.coder = coder
        self.tooLong = coder.encode(DistributedGroupError.flightTooLong)
        self.runtime = runtime
        self.maximumWaiters = maximumWaiters
    }
}

extension DistributedGroupError {
    /// What everybody gets when an operation ran longer than a flight may.
    static var flightTooLong: DistributedGroupError {
        DistributedGroupError(.flightTooLong, "the operation ran longer than the group's limits.flight")
    }
}

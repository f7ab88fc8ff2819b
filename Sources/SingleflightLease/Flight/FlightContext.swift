import Singleflight

/// What all flights of one group share.
package final class FlightContext: Sendable {
    /// The group's name.
    let group: String
    let store: any LeaseStore
    let terms: FlightTerms
    let coder: PayloadCoder<ErasedValue>
    /// What everybody gets where the operation's own result cannot be had.
    let outcomes: FlightMachine.Outcomes
    let runtime: FlightRuntime
    /// How many callers of this process may wait for one key beside the one that began the flight.
    let maximumWaiters: Int?
    /// The limits of streams, if the flights are such.
    package let streams: StreamTerms?

    package init(
        group: String,
        store: any LeaseStore,
        terms: FlightTerms,
        coder: PayloadCoder<ErasedValue>,
        runtime: FlightRuntime,
        maximumWaiters: Int? = nil,
        streams: StreamTerms? = nil
    ) {
        self.group = group
        self.store = store
        self.terms = terms
        self.coder = coder
        self.outcomes = FlightMachine.Outcomes(
            tooLong: coder.encode(DistributedGroupError.flightTooLong),
            storeFull: coder.encode(DistributedGroupError.storeFull)
        )
        self.runtime = runtime
        self.maximumWaiters = maximumWaiters
        self.streams = streams
    }
}

extension DistributedGroupError {
    /// What everybody gets when an operation ran longer than a flight may.
    static var flightTooLong: DistributedGroupError {
        DistributedGroupError(.flightTooLong, "the operation ran longer than the group's limits.flight")
    }

    /// What the others get when the store has no room for the result.
    static var storeFull: DistributedGroupError {
        DistributedGroupError(.storeFull, "the store has no room for the result")
    }
}

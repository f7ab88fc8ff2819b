package import SingleflightLease

/// Runs of the real flight drivers and state machines of several processes in a simulated world, in which everything
/// goes wrong that its seed wants to go wrong; docs/reliability.md tells what and what is checked.
///
/// One seed is one run, the same on every machine, without threads, tasks or real time.
package enum Simulation {
    /// Runs one seed. Takes about a millisecond.
    ///
    /// - Parameter isTracing: whether the report is to tell everything that happened.
    package static func run(seed: UInt64, isTracing: Bool = false) -> SimulationReport {
        self.run(seed: seed, isTracing: isTracing, sabotage: .none)
    }

    package static func run(seed: UInt64, isTracing: Bool, sabotage: SimulatedSabotage) -> SimulationReport {
        SimulationRun(seed: seed, isTracing: isTracing, sabotage: sabotage).run()
    }
}

/// What a run came to.
package struct SimulationReport: Sendable {
    /// The seed that the run was made from.
    package var seed: UInt64
    /// The first invariant that was broken, if one was.
    package var failure: SimulationFailure?
    /// How many events happened.
    package var steps: Int
    /// How many callers asked for a key.
    package var callers: Int
    /// How many operations ran.
    package var operations: Int
    /// How many leases were granted.
    package var leases: Int
    /// How many faults were injected, those of single messages not counted.
    package var faults: Int
    /// How much time passed in the simulated world.
    package var duration: Duration
    /// What happened, a line each, if the run was traced.
    package var trace: [String]
}

/// An invariant that did not hold.
package struct SimulationFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// Its number in docs/reliability.md, such as `I4`.
    package var invariant: String
    /// What was found instead.
    package var message: String
    /// The true time in the simulated world.
    package var time: LeaseInstant

    /// The invariant, what was found, and when.
    package var description: String { "\(self.invariant) at \(self.time): \(self.message)" }
}

public import SingleflightLease

/// Runs of the real flight drivers and state machines of several processes in a simulated world, in which everything
/// goes wrong that its seed wants to go wrong; docs/reliability.md tells what and what is checked.
///
/// One seed is one run, the same on every machine, without threads, tasks or real time.
public enum Simulation {
    /// Runs one seed. Takes about a millisecond. With `isTracing` the report tells everything that happened.
    public static func run(seed: UInt64, isTracing: Bool = false) -> SimulationReport {
        self.run(seed: seed, isTracing: isTracing, sabotage: .none)
    }

    package static func run(seed: UInt64, isTracing: Bool, sabotage: SimulatedSabotage) -> SimulationReport {
        SimulationRun(seed: seed, isTracing: isTracing, sabotage: sabotage).run()
    }
}

/// What a run came to.
public struct SimulationReport: Sendable {
    /// The seed that the run was made from.
    public var seed: UInt64
    /// The first invariant that was broken, if one was.
    public var failure: SimulationFailure?
    /// How many events happened.
    public var steps: Int
    /// How many callers asked for a key.
    public var callers: Int
    /// How many operations ran.
    public var operations: Int
    /// How many leases were granted.
    public var leases: Int
    /// How many faults were injected, those of single messages not counted.
    public var faults: Int
    /// How much time passed in the simulated world.
    public var duration: Duration
    /// What happened, a line each, if the run was traced.
    public var trace: [String]
}

/// An invariant that did not hold.
public struct SimulationFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// Its number in docs/reliability.md, such as `I4`.
    public var invariant: String
    /// What was found instead.
    public var message: String
    /// The true time in the simulated world.
    public var time: LeaseInstant

    /// The invariant, what was found, and when.
    public var description: String { "\(self.invariant) at \(self.time): \(self.message)" }
}

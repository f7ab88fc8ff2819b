import SingleflightSimulation
import TestSupport
import Testing

@Suite("Simulation", .keepsBusy)
struct SimulationTests {
    /// A sample of the ten thousand that `.ci/run` lets the optimized build play, ten times as fast.
    @Test("five hundred seeds break no invariant", arguments: 0..<10)
    func sample(_ part: UInt64) {
        for seed in part * 50..<(part + 1) * 50 {
            let report = Simulation.run(seed: seed)
            #expect(report.failure == nil, "seed \(seed); replay it with: make simulate SEED=\(seed)")
        }
    }

    @Test("a seed gives the same run every time")
    func repeats() {
        for seed in UInt64(1)...10 {
            let first = Simulation.run(seed: seed, isTracing: true)
            let second = Simulation.run(seed: seed, isTracing: true)
            #expect(first.trace == second.trace)
            #expect(first.trace.count > 30)
        }
    }

    @Test("seeds differ in what happens, and between them everything happens")
    func variety() {
        let reports = (UInt64(1)...60).map { Simulation.run(seed: $0) }
        #expect(Set(reports.map(\.steps)).count > 40)
        #expect(reports.contains { $0.faults == 0 })
        #expect(reports.contains { $0.faults > 10 })
        #expect(reports.contains { $0.operations < $0.callers })
        #expect(reports.contains { $0.leases > $0.operations })
    }

    /// Canaries: a simulation that finds nothing in a broken world proves nothing.
    @Test(
        "a world with a bug planted in it is caught",
        arguments: [
            (SimulatedSabotage.forgetsOutcomes, ["I7"]),
            (.believesTooLong, ["I15"]),
            (.losesReplies, ["I7"]),
        ]
    )
    func canary(_ sabotage: SimulatedSabotage, _ expected: [String]) throws {
        let failure = (UInt64(1)...500).lazy
            .compactMap { Simulation.run(seed: $0, isTracing: false, sabotage: sabotage).failure }
            .first
        let found = try #require(failure)
        #expect(expected.contains(found.invariant), "\(found)")
    }

    @Test("a failure's trace ends with what was violated")
    func trace() throws {
        let report = try #require(
            (UInt64(1)...500).lazy
                .map { Simulation.run(seed: $0, isTracing: true, sabotage: .losesReplies) }
                .first { $0.failure != nil }
        )
        let failure = try #require(report.failure)
        #expect(report.trace.contains { $0.hasSuffix("VIOLATED \(failure)") })
    }
}

import SingleflightRedis
import Testing

@testable import Soak

@Suite("The troubles of a soak")
struct TroubleTests {
    private func draws(_ count: Int, from choice: [Chaos] = Chaos.allCases, seed: UInt64 = 7) -> [TroublePlan] {
        var random = FlightRandom.seeded(seed)
        return (0..<count).map { _ in TroublePlan(from: choice, using: &random) }
    }

    @Test("follow from the seed")
    func deterministic() {
        #expect(self.draws(100) == self.draws(100))
        #expect(self.draws(100) != self.draws(100, seed: 8))
    }

    @Test("are all drawn, those that end all else rarely")
    func weights() {
        let counts = Dictionary(grouping: self.draws(50_000), by: \.chaos).mapValues(\.count)
        #expect(Set(counts.keys) == Set(Chaos.allCases))
        let outages = counts[.longOutage, default: 0], restarts = counts[.restartEmpty, default: 0]
        #expect(outages * 4 < restarts)
        for (chaos, count) in counts where ![.longOutage, .restartEmpty].contains(chaos) {
            #expect(restarts * 2 < count, "\(chaos)")
        }
    }

    @Test("are only those that are asked for, by their names")
    func only() {
        #expect(Set(self.draws(1000, from: [.slowLink, .bigValues]).map(\.chaos)) == [.slowLink, .bigValues])
        for chaos in Chaos.allCases { #expect(Chaos(argument: "\(chaos)") == chaos) }
        #expect(Chaos(argument: "a worker killed") == nil)
    }

    @Test("settings follow from their number, differ, and can be used")
    func settings() throws {
        let all = (1...200).map { WorkerSettings($0) }
        #expect(all == (1...200).map { WorkerSettings($0) })
        #expect(Set(all.map(\.lease)).count == 3)
        #expect(Set(all.map(\.maximumBytes)).count == 3)
        #expect(all.contains { $0.canceling.onLost == .leadAgain } && all.contains { $0.canceling.onLost == .cancel })
        #expect(all.contains { $0.takingOver.unavailable == .fail })
        for settings in all {
            #expect(settings.lease <= WorkerSettings.longestLease)
            #expect(settings.grace <= WorkerSettings.longestGrace)
            #expect(settings.retention <= WorkerSettings.longestRetention)
            #expect(settings.lease >= SoakSettings.commandTimeout * 3)
        }
    }
}

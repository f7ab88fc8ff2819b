import NIOCore
import Testing

@testable import HiredisClient

@Suite("A fleet that reconnects")
struct ReconnectFleetTests {
    private static let lost = RedisClientError(.connectionFailed, "lost")

    /// One process that has just lost its connection, and finds the server down at each attempt, which fails at once.
    private struct Process {
        var machine = ReconnectMachine(backoff: Backoff())
        var random: SystemRandomNumberGenerator = .init()
        var attempt: ReconnectMachine.Attempt = 0

        init() {
            attempt = machine.start() ?? 0
            _ = machine.connected(attempt, now: .uptimeNanoseconds(0))
        }

        /// When it tries again, in seconds from zero.
        mutating func attempts(within seconds: Double) -> [Double] {
            var time = 0.0
            var times: [Double] = []
            while true {
                let delay = machine.failed(
                    attempt,
                    with: ReconnectFleetTests.lost,
                    now: .uptimeNanoseconds(UInt64(time * 1e9)),
                    random: Double.random(in: 0..<1, using: &random)
                )
                guard let delay, let next = machine.waited() else { return times }
                attempt = next
                time += Double(delay.nanoseconds) / 1e9
                guard time < seconds else { return times }
                times.append(time)
            }
        }
    }

    /// Doubling without jitter would bring all of them back in the same instants.
    @Test("a fleet that loses its server spreads its attempts, from the first one on")
    func spread() {
        let fleet = (0..<1000).map { _ in Process() }
        var firsts: [Double] = []
        var later: [Double] = []
        for var process in fleet {
            let times = process.attempts(within: 20)
            firsts += times.prefix(1)
            later += times.filter { $0 >= 10 }
        }
        // The first attempts: evenly within 50 ms. A slot of 5 ms holds a tenth of them, give or take.
        let busiestFirst = Dictionary(grouping: firsts) { Int($0 / 0.005) }.values.map(\.count).max() ?? 0
        #expect(firsts.allSatisfy { $0 < 0.05 })
        #expect(busiestFirst < 200)
        // From 10 s to 20 s: a slot of 10 ms holds a thousandth of them, some 10 to 14.
        let busiestLater = Dictionary(grouping: later) { Int($0 / 0.01) }.values.map(\.count).max() ?? 0
        #expect(busiestLater < 60)
    }

    @Test("a process that stays without its server tries some thirty times in twenty seconds, and not more often later")
    func rate() {
        var total = 0
        for _ in 0..<300 {
            var process = Process()
            total += process.attempts(within: 20).count
        }
        let average = Double(total) / 300
        #expect((15...45).contains(average), "\(average)")
    }

    @Test("no delay is longer than the maximum, however often it failed", arguments: [1, 2, 10, 64, 1_000_000])
    func bounded(failures: Int) {
        let backoff = Backoff()
        let longest = backoff.delay(afterFailures: failures, random: 0.999_999)
        #expect(longest <= backoff.maximum)
        #expect(backoff.delay(afterFailures: failures, random: 0) == .zero)
    }
}

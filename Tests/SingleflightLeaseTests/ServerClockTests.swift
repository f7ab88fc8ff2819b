import Testing

@testable import SingleflightLease

@Suite("What a process knows of its store's clock")
struct ServerClockTests {
    /// The store's clock in the tests shows 1 000 000 ms at our zero.
    private static func server(_ milliseconds: Int) -> Duration { .milliseconds(1_000_000 + milliseconds) }

    private func latest(_ clock: ServerClock, at milliseconds: Int) -> Double? {
        clock.latest(at: .at(milliseconds)).map { ($0 / .microseconds(1)).rounded() / 1000 }
    }

    @Test("nothing, before it was told")
    func unknown() {
        #expect(ServerClock().latest(at: .at(5)) == nil)
    }

    @Test("the time is no later than if it was read when the question was sent, to the end of the unit it is told in")
    func upperBound() throws {
        var clock = ServerClock()
        clock.learn(Self.server(107), resolution: .milliseconds(1), sentAt: .at(100), receivedAt: .at(110))
        #expect(try #require(self.latest(clock, at: 110)) == 1_000_118)
    }

    @Test("a slow answer does not blur what a quick one told")
    func intersection() throws {
        var clock = ServerClock()
        clock.learn(Self.server(101), sentAt: .at(100), receivedAt: .at(102))
        clock.learn(Self.server(950), sentAt: .at(200), receivedAt: .at(1000))
        let latest = try #require(self.latest(clock, at: 1000))
        #expect((1_001_001...1_001_003).contains(latest))
    }

    @Test("what was told long ago is taken as less certain")
    func drift() throws {
        var clock = ServerClock()
        clock.learn(Self.server(0), sentAt: .at(0), receivedAt: .at(0))
        #expect(try #require(self.latest(clock, at: 100_000)) == 1_100_100)
    }

    @Test("a clock that was set, ahead or back, is believed at its next word", arguments: [5000, -5000])
    func set(by jump: Int) throws {
        var clock = ServerClock()
        clock.learn(Self.server(1), sentAt: .at(0), receivedAt: .at(2))
        clock.learn(Self.server(101 + jump), sentAt: .at(100), receivedAt: .at(102))
        #expect(try #require(self.latest(clock, at: 102)) == Double(1_000_103 + jump))
    }

    @Test("whatever the delays and the clocks' speeds, no instant is later by the store's clock than was said")
    func neverTooEarly() throws {
        var random = FlightRandom.seeded(.random(in: 0..<1 << 32))
        for _ in 0..<200 {
            let offset = Duration.milliseconds(Int.random(in: -1_000_000...1_000_000, using: &random))
            let speed = Double.random(in: 0.9995...1.0005, using: &random)
            func server(at instant: LeaseInstant) -> Duration { offset + instant.sinceOrigin * speed }
            var clock = ServerClock()
            var now = LeaseInstant.at(0)
            for _ in 0..<50 {
                let sentAt = now
                let read = sentAt.advanced(by: .jitter(upTo: .milliseconds(50), using: &random))
                now = read.advanced(by: .jitter(upTo: .milliseconds(50), using: &random))
                clock.learn(server(at: read), sentAt: sentAt, receivedAt: now)
                let later = now.advanced(by: .jitter(upTo: .seconds(20), using: &random))
                let latest = try #require(clock.latest(at: later))
                #expect(latest >= server(at: later) - .nanoseconds(1))
                now = now.advanced(by: .jitter(upTo: .seconds(20), using: &random))
            }
        }
    }
}

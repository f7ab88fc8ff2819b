import NIOCore
import Testing

@testable import HiredisClient

/// When to try again: neither all at once, nor over and over.
@Suite struct ReconnectMachineTests {
    private static let lost = RedisClientError(.connectionFailed, "lost")

    private static func time(_ seconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(0) + .seconds(seconds)
    }

    @Test("delays are drawn from zero up to a ceiling that doubles with each failure, and ends at the maximum")
    func ceiling() throws {
        let backoff = Backoff()
        var machine = ReconnectMachine(backoff: backoff)
        var attempt = try required(machine.start())
        var ceiling = backoff.minimum
        for _ in 0..<12 {
            let delay = try required(machine.failed(attempt, with: Self.lost, now: Self.time(0), random: 0.999_999))
            #expect(Duration(delay) <= ceiling)
            #expect(Duration(delay) > ceiling * 0.99)
            attempt = try required(machine.waited())
            ceiling = min(ceiling * 2, backoff.maximum)
        }
        let least = try required(machine.failed(attempt, with: Self.lost, now: Self.time(0), random: 0))
        #expect(least == .zero)
    }

    @Test("a connection that is accepted and dropped over and over counts as failing")
    func flapping() throws {
        var machine = ReconnectMachine(backoff: Backoff())
        var attempt = try required(machine.start())
        var delays: [TimeAmount] = []
        for _ in 0..<4 {
            let isConnected = machine.connected(attempt, now: Self.time(0))
            #expect(isConnected)
            delays.append(try required(machine.failed(attempt, with: Self.lost, now: Self.time(0), random: 0.5)))
            attempt = try required(machine.waited())
        }
        #expect(delays == delays.sorted() && Set(delays.map(\.nanoseconds)).count == delays.count)
    }

    @Test("a connection that lasted makes the failures before it forgotten")
    func lasting() throws {
        var machine = ReconnectMachine(backoff: Backoff())
        var attempt = try required(machine.start())
        for _ in 0..<8 {
            _ = machine.failed(attempt, with: Self.lost, now: Self.time(0), random: 0.5)
            attempt = try required(machine.waited())
        }
        let isConnected = machine.connected(attempt, now: Self.time(0))
        #expect(isConnected)
        let delay = try required(machine.failed(attempt, with: Self.lost, now: Self.time(60), random: 0.999))
        #expect(Duration(delay) <= Backoff().minimum)
    }

    @Test("refused credentials are tried again patiently, and soon enough to be back within two seconds")
    func patience() throws {
        for random in [0.0, 0.5, 0.999] {
            var machine = ReconnectMachine(backoff: Backoff())
            let attempt = try required(machine.start())
            let refused = RedisClientError(.authenticationFailed, "refused")
            let delay = Duration(
                try required(machine.failed(attempt, with: refused, now: Self.time(0), random: random))
            )
            #expect(delay >= .milliseconds(500) && delay <= .milliseconds(1_500))
        }
    }

    @Test("what is heard of an earlier attempt changes nothing, and after a shutdown nothing is tried")
    func obsolete() throws {
        var machine = ReconnectMachine(backoff: Backoff())
        let first = try required(machine.start())
        _ = machine.failed(first, with: Self.lost, now: Self.time(0), random: 0)
        let second = try required(machine.waited())
        let late = machine.failed(first, with: Self.lost, now: Self.time(0), random: 0)
        #expect(late == nil)
        let isFirst = machine.connected(first, now: Self.time(0))
        let isSecond = machine.connected(second, now: Self.time(0))
        #expect(!isFirst && isSecond)
        let isShutDown = machine.shutDown()
        #expect(isShutDown)
        let after = machine.failed(second, with: Self.lost, now: Self.time(0), random: 0)
        let again = machine.waited()
        #expect(after == nil && again == nil)
    }
}

/// A value that must be there; what made it may have changed something, which `#require` does not allow.
private func required<Value>(_ value: Value?, sourceLocation: SourceLocation = #_sourceLocation) throws -> Value {
    try #require(value, sourceLocation: sourceLocation)
}

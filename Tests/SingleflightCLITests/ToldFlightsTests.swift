import SingleflightRedis
import Testing

@testable import SingleflightCLI

@Suite("What watch has told")
struct ToldFlightsTests {
    private static let tokens = {
        var generator = SystemRandomNumberGenerator()
        return (0..<3).map { _ in LeaseToken(using: &generator) }
    }()

    private static func token(_ number: Int) -> LeaseToken { tokens[number] }

    @Test("a flight that was found running is told once, and its beginning not at all")
    func found() {
        var told = ToldFlights()
        told.beginPass()
        let steps = [
            told.find(Self.token(1)), told.find(Self.token(1)), told.hear(.acquired, of: Self.token(1)),
            told.hear(.renewed, of: Self.token(1)), told.hear(.completed, of: Self.token(1)),
        ]
        #expect(steps == [true, false, false, true, true])
    }

    @Test("a flight that ended while it was looked for does not seem to run afterwards")
    func heardFirst() {
        var told = ToldFlights()
        told.beginPass()
        let steps = [
            told.hear(.acquired, of: Self.token(1)), told.hear(.completed, of: Self.token(1)), told.find(Self.token(1)),
        ]
        #expect(steps == [true, true, false])
    }

    @Test("who takes over what was found is told, and that it runs is not told again")
    func takenOver() {
        var told = ToldFlights()
        told.beginPass()
        let steps = [
            told.find(Self.token(1)), told.hear(.takenOver(from: Self.token(1)), of: Self.token(2)),
            told.find(Self.token(2)),
        ]
        #expect(steps == [true, true, false])
    }

    @Test("after the pass every beginning is told, and after a gap everything that runs is told again")
    func passes() {
        var told = ToldFlights()
        told.beginPass()
        _ = told.find(Self.token(1))
        told.endPass()
        let between = told.hear(.acquired, of: Self.token(2))
        told.beginPass()
        let again = [told.find(Self.token(1)), told.find(Self.token(2))]
        #expect(between)
        #expect(again == [true, true])
    }
}

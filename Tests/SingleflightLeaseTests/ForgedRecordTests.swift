import Testing

@testable import SingleflightLease

/// Records that no store writes: what follows them asks a bounded number of times.
@Suite("Records that point in a circle")
struct ForgedRecordTests {
    private var random = CountingGenerator()

    /// Answers every poll in the same way, and jumps to each time that the machine waits for.
    private mutating func polls(
        _ reply: (LeaseToken) -> PollReply,
        after start: (inout Following, inout CountingGenerator) -> FlightActions
    ) -> (atOnce: Int, all: Int, enters: Int, end: FlightActions) {
        var machine = Following(terms: .table())
        var actions = start(&machine, &self.random)
        var (atOnce, all, enters, now) = (0, 0, 0, LeaseInstant.at(10))
        while !machine.isFinal, all < 100_000 {
            let event: FlightEvent
            switch actions.last {
            case .send(.poll(let token, _)):
                all += 1
                if now == .at(10) { atOnce += 1 }
                event = .replied(.success(.poll(reply(token))), to: .poll(token))
            case .send(.enter(let token, _, let until)):
                enters += 1
                let reply = EnterReply.follow(token, remaining: .zero)
                event = .replied(.success(.enter(reply)), to: .enter(token, isRepetition: false, until: until))
            case .wake(let time):
                now = max(now, time)
                event = .timer
            default:
                return (atOnce, all, enters, actions)
            }
            guard case .actions(let next) = machine.handle(event, now: now, using: &self.random) else { break }
            actions = next
        }
        return (atOnce, all, enters, actions)
    }

    private static func follow(_ machine: inout Following, _ random: inout CountingGenerator) -> FlightActions {
        let leader = LeaseToken(using: &random)
        guard case .actions(let entering) = machine.handle(.start, now: .at(0), using: &random),
            case .send(.enter(let token, _, let until)) = entering.first
        else { return [] }
        let reply = FlightEvent.replied(
            .success(.enter(.follow(leader, remaining: .seconds(3)))),
            to: .enter(token, isRepetition: false, until: until)
        )
        _ = machine.handle(reply, now: .at(5), using: &random)
        guard case .actions(let actions) = machine.handle(.timer, now: .at(10), using: &random) else { return [] }
        return actions
    }

    @Test("a ring of takeovers is followed 16 times at once, then with pauses, and given up")
    mutating func ring() {
        let one = LeaseToken(using: &self.random)
        let two = LeaseToken(using: &self.random)
        let polls = self.polls({ $0 == one ? .superseded(by: two) : .superseded(by: one) }, after: Self.follow)
        #expect(polls.atOnce == 17)
        #expect(polls.all == 1001)
        guard case .tell(.gone) = polls.end.last else {
            Issue.record("\(polls.end)")
            return
        }
    }

    @Test("a lease that is given back for ever is entered 8 times more, and given up")
    mutating func givenBackForEver() {
        let polls = self.polls({ _ in .withdrawn }, after: Self.follow)
        #expect(polls.enters == 8)
        guard case .tell(.gone) = polls.end.last else {
            Issue.record("\(polls.end)")
            return
        }
    }

    @Test("a ring that is asked about before leading is no reason to lead, and the lease is given back")
    mutating func ringBeforeLeading() {
        var machine = Following(terms: .table())
        var next = LeaseToken(using: &self.random)
        var actions = Self.follow(&machine, &self.random)
        func step(_ event: FlightEvent) -> FlightActions {
            guard case .actions(let next) = machine.handle(event, now: .at(20), using: &self.random) else { return [] }
            return next
        }
        guard case .send(.poll(let followed, _)) = actions.last else {
            Issue.record("\(actions)")
            return
        }
        actions = step(.replied(.success(.poll(.expired)), to: .poll(followed)))
        guard case .send(.enter(let own, _, let until)) = actions.last else {
            Issue.record("\(actions)")
            return
        }
        actions = step(
            .replied(.success(.enter(.lead(attempt: 1))), to: .enter(own, isRepetition: false, until: until))
        )
        var count = 0
        while case .send(.poll(let token, _)) = actions.last, count < 1000 {
            count += 1
            next = LeaseToken(using: &self.random)
            actions = step(.replied(.success(.poll(.superseded(by: next))), to: .poll(token)))
        }
        #expect(count == 17)
        guard case .send(.release(own, .withdraw)) = actions.first else {
            Issue.record("the lease is to be taken back first: \(actions)")
            return
        }
        #expect(machine.isFinal)
    }
}

import Testing

@testable import SingleflightLease

extension LeaseInspection {
    /// What a store says of a key that somebody leads.
    static func held(under token: LeaseToken, for remaining: Duration) -> LeaseInspection {
        var random = CountingGenerator()
        let lease = Lease(
            token: token,
            inbox: InboxID(using: &random),
            duration: .seconds(3),
            remaining: remaining,
            attempt: 0,
            note: LeaseNote(label: "leader")
        )
        return LeaseInspection(lease: lease, waiters: [])
    }
}

/// What a process does that follows a flight and never leads one, from the question which flight there is.
@Suite("An onlooker's state machine")
struct OnlookerTableTests {
    private static let unreachable = LeaseStoreError(.unavailable, "unreachable", mayHaveExecuted: true)
    private static let refused = LeaseStoreError(.refused, "refused")

    /// One step: what happens, 100 ms after the step before, and what the machine does.
    private enum Step {
        case start, timer, abandoned, shutDown, hint, offered
        case nothingThere, found, foundExpired, unreachable, refused
        case running, expired, superseded, gone, done
    }

    /// Drives a new machine through `steps`. Answers what it did at each of them.
    private func run(_ steps: Step...) -> [String] {
        var random = CountingGenerator()
        let (leader, successor) = (LeaseToken(using: &random), LeaseToken(using: &random))
        let text = ActionText(names: [leader: "leader", successor: "successor"])
        var machine = FlightMachine(following: .table(.takeOver(attempts: 1)))
        var asked = leader
        var now = 0
        return steps.map { step in
            now += 10
            func looked(_ reply: Result<LeaseReply, LeaseStoreError>) -> FlightEvent { .replied(reply, to: .look) }
            func polled(_ reply: PollReply) -> FlightEvent { .replied(.success(.poll(reply)), to: .poll(asked)) }
            let event: FlightEvent =
                switch step {
                case .start: .start
                case .timer: .timer
                case .abandoned: .abandoned
                case .shutDown: .heard(.shuttingDown)
                case .hint: .heard(.announced(Announcement(token: leader, news: .hint)))
                case .offered: .offered
                case .nothingThere: looked(.success(.inspect(LeaseInspection(lease: nil, waiters: []))))
                case .found: looked(.success(.inspect(.held(under: leader, for: .seconds(3)))))
                case .foundExpired: looked(.success(.inspect(.held(under: leader, for: .seconds(-1)))))
                case .unreachable: looked(.failure(Self.unreachable))
                case .refused: looked(.failure(Self.refused))
                case .running: polled(.running(remaining: .seconds(3)))
                case .expired: polled(.expired)
                case .superseded: polled(.superseded(by: successor))
                case .gone: polled(.gone)
                case .done: polled(.done(.value([7])))
                }
            let actions = machine.handle(event, now: .at(now), using: &random)
            for case .send(.poll(let token, _)) in actions { asked = token }
            return text.text(actions)
        }
    }

    @Test("it asks which flight there is, and tells its callers if there is none")
    func absent() {
        #expect(self.run(.start, .nothingThere) == ["look", "resolve absent, finish"])
    }

    @Test("it asks how the flight stands that it found, and tells of its outcome")
    func followed() {
        #expect(
            self.run(.start, .found, .running, .hint, .done)
                == ["look", "poll leader", "wake 3031", "poll leader", "resolve followed leader [7] 0, finish"]
        )
    }

    @Test("a flight that ended before this process was among its waiters is none")
    func endedInBetween() {
        #expect(self.run(.start, .found, .gone) == ["look", "poll leader", "resolve absent, finish"])
    }

    @Test("a flight that the store lost while this process waited is told as lost")
    func lost() {
        #expect(self.run(.start, .found, .running, .timer, .gone).last == "resolve gone leader, finish")
    }

    @Test("a lost leader's flight is left to the others, also if somebody offers an operation, and never ended or led")
    func leavesItToOthers() {
        #expect(
            self.run(.start, .foundExpired, .expired, .offered, .timer, .expired, .timer, .superseded, .running, .done)
                == [
                    "look", "poll leader", "wake 35", "", "poll leader", "wake 70", "poll leader", "poll successor",
                    "wake 3091", "resolve followed successor [7] 1, finish",
                ]
        )
    }

    @Test("a flight that nobody led on with, and that the store has forgotten by now, has lapsed")
    func lapsed() {
        #expect(
            self.run(.start, .found, .running, .timer, .expired, .timer, .gone).suffix(2)
                == ["poll leader", "resolve lapsed leader, finish"]
        )
    }

    @Test("the question is repeated while the store may answer yet, and given up at the command timeout")
    func unreachable() {
        #expect(
            self.run(.start, .unreachable, .timer, .unreachable, .timer, .unreachable, .timer, .unreachable)
                == [
                    "look", "wake 25", "look", "wake 50", "look", "wake 80", "look",
                    "resolve unavailable unavailable, finish",
                ]
        )
        #expect(self.run(.start, .refused).last == "resolve unavailable refused, finish")
    }

    @Test("it goes away without a word while it asks, and takes itself off the waiters afterwards")
    func abandoned() {
        #expect(self.run(.start, .abandoned, .found) == ["look", "finish", ""])
        #expect(self.run(.start, .unreachable, .abandoned, .timer) == ["look", "wake 25", "finish", ""])
        #expect(self.run(.start, .found, .abandoned).last == "leave leader, finish")
    }

    @Test("its callers are told of a shutdown")
    func shutDown() {
        #expect(self.run(.start, .shutDown, .found) == ["look", "resolve shutDown, finish", ""])
        #expect(self.run(.start, .found, .running, .shutDown).last == "leave leader, resolve shutDown, finish")
    }
}

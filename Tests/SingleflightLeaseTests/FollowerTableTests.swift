import Testing

@testable import SingleflightLease

/// What a follower does in each situation on each event: all pairs, most of which must do nothing.
@Suite("The follower's state machine")
struct FollowerTableTests {
    /// Where the machine is when the event comes, at 20 ms.
    enum Situation: String, CaseIterable, CustomTestStringConvertible {
        case idle, entering, enteringAbandoned, enteringBackoff, enteringRepeated, enteringAfterExpiry
        case waiting, polling, pollingTwice, pollingEarlier
        case watching, watchingPolling, watchingExpired, watchingSettling
        case confirming, confirmingAbandoned
        case granted, ended

        var testDescription: String { self.rawValue }
    }

    enum Event: String, CaseIterable {
        case start
        case lead0, lead1, follow, reuse, late, enterFailed, enterRefused, otherLead
        case done, running, expired, superseded, withdrawn, gone, pollFailed, pollShutDown
        case outcomeOfLeader, outcomeOfOther, hint, unawaited, progressNews, interrupted, resumed
        case timer, lateTimer, leftTimer, abandoned, shutDown
    }

    private static let unreachable = LeaseStoreError(.unavailable, "unreachable", mayHaveExecuted: true)
    private static let refused = LeaseStoreError(.refused, "refused")

    /// Drives a new machine into a situation, and then lets the event come.
    private func answer(
        _ situation: Situation,
        _ event: Event,
        _ policy: LeaderLossPolicy = .takeOver(attempts: 1)
    ) -> String {
        var random = CountingGenerator()
        let (leader, other) = (LeaseToken(using: &random), LeaseToken(using: &random))
        let watches: Set<Situation> = [.watching, .watchingPolling, .watchingExpired, .watchingSettling]
        var machine = Following(terms: .table(policy), canTakeOver: !watches.contains(situation))
        /// The token of the last `enter` that was asked for.
        var me = other
        func handle(_ event: FlightEvent, at milliseconds: Int) {
            guard case .actions(let actions) = machine.handle(event, now: .at(milliseconds), using: &random) else {
                return
            }
            for case .send(.enter(let token, _, _)) in actions { me = token }
        }
        func entered(_ reply: Result<EnterReply, LeaseStoreError>, at milliseconds: Int) {
            handle(
                .replied(reply.map { .enter($0) }, to: .enter(me, isRepetition: false, until: .at(0))),
                at: milliseconds
            )
        }
        func polled(_ reply: PollReply, at milliseconds: Int) {
            handle(.replied(.success(.poll(reply)), to: .poll(leader)), at: milliseconds)
        }
        func follow() {
            handle(.start, at: 0)
            let reply = EnterReply.follow(leader, remaining: .seconds(3))
            entered(.success(reply), at: 5)
        }
        func poll() {
            follow()
            handle(.timer, at: 6)
        }
        func enterAgain() {
            poll()
            polled(.expired, at: 7)
        }
        func enterAndFail() {
            handle(.start, at: 0)
            entered(.failure(Self.unreachable), at: 5)
        }

        switch situation {
        case .idle: break
        case .entering: handle(.start, at: 0)
        case .enteringAbandoned:
            handle(.start, at: 0)
            handle(.abandoned, at: 5)
        case .enteringBackoff: enterAndFail()
        case .enteringRepeated:
            enterAndFail()
            handle(.timer, at: 10)
        case .enteringAfterExpiry: enterAgain()
        case .waiting: follow()
        case .polling: poll()
        case .pollingTwice:
            poll()
            handle(.heard(.announced(Announcement(token: leader, news: .hint))), at: 7)
        case .pollingEarlier:
            enterAgain()
            let reply = EnterReply.follow(other, remaining: .seconds(3))
            entered(.success(reply), at: 8)
        case .watching: follow()
        case .watchingPolling: poll()
        case .watchingExpired: enterAgain()
        case .watchingSettling:
            enterAgain()
            handle(.timer, at: 407)
        case .confirming, .confirmingAbandoned:
            enterAgain()
            entered(.success(.lead(attempt: 0)), at: 8)
            if situation == .confirmingAbandoned { handle(.abandoned, at: 5) }
        case .granted:
            handle(.start, at: 0)
            entered(.success(.lead(attempt: 0)), at: 5)
        case .ended:
            handle(.start, at: 0)
            handle(.heard(.shuttingDown), at: 5)
        }

        let names = me == other ? [leader: "L", other: "O"] : [leader: "L", other: "O", me: "me"]
        let text = ActionText(names: names)
        let wasFinal = machine.isFinal
        func happens(_ event: FlightEvent, at milliseconds: Int = 20) -> String {
            let step = machine.handle(event, now: .at(milliseconds), using: &random)
            return text.text(step, ends: machine.isFinal && !wasFinal)
        }
        func enter(_ reply: Result<EnterReply, LeaseStoreError>, _ token: LeaseToken? = nil) -> String {
            happens(.replied(reply.map { .enter($0) }, to: .enter(token ?? me, isRepetition: false, until: .at(0))))
        }
        func poll(_ reply: Result<PollReply, LeaseStoreError>) -> String {
            happens(.replied(reply.map { .poll($0) }, to: .poll(leader)))
        }
        func hear(_ token: LeaseToken, _ news: Announcement.News) -> String {
            happens(.heard(.announced(Announcement(token: token, news: news))))
        }
        switch event {
        case .start: return happens(.start)
        case .lead0: return enter(.success(.lead(attempt: 0)))
        case .lead1: return enter(.success(.lead(attempt: 1)))
        case .follow: return enter(.success(.follow(other, remaining: .seconds(3))))
        case .reuse: return enter(.success(.reuse(other, .value([1]))))
        case .late: return enter(.success(.late))
        case .enterFailed:
            return enter(.failure(Self.unreachable))
        case .enterRefused:
            return enter(.failure(Self.refused))
        case .otherLead:
            let old = LeaseToken(using: &random)
            return enter(.success(.late), old)
        case .done: return poll(.success(.done(.value([2]))))
        case .running: return poll(.success(.running(remaining: .seconds(2))))
        case .expired: return poll(.success(.expired))
        case .superseded: return poll(.success(.superseded(by: other)))
        case .withdrawn: return poll(.success(.withdrawn))
        case .gone: return poll(.success(.gone))
        case .pollFailed: return poll(.failure(Self.unreachable))
        case .pollShutDown: return poll(.failure(LeaseStoreError(.shutDown, "shut down")))
        case .outcomeOfLeader: return hear(leader, .outcome(.value([3])))
        case .outcomeOfOther: return hear(other, .outcome(.value([4])))
        case .hint: return hear(leader, .hint)
        case .unawaited: return hear(leader, .unawaited)
        case .progressNews: return hear(leader, .progress(FlightProgress(fraction: 0.5)))
        case .interrupted: return happens(.heard(.interrupted))
        case .resumed: return happens(.heard(.resumed))
        case .timer: return happens(.timer)
        case .lateTimer: return happens(.timer, at: 100)
        case .leftTimer: return happens(.timer, at: 407)
        case .abandoned: return happens(.abandoned)
        case .shutDown: return happens(.heard(.shuttingDown))
        }
    }

    /// What is not listed must do nothing.
    private static let table: [Situation: [Event: String]] = [
        .idle: [
            .start: "enter new",
            .abandoned: "finish",
            .shutDown: "resolve shutDown, finish",
        ],
        .entering: [
            .lead0: "lead me 0",
            .lead1: "lead me 1",
            .follow: "wake 3021",
            .reuse: "resolve reused O [1] 0, finish",
            .late: "resolve unavailable timedOut, finish",
            .enterFailed: "wake 25",
            .enterRefused: "resolve unavailable refused, finish",
            .lateTimer: "release me withdraw, resolve unavailable timedOut, finish",
            .leftTimer: "release me withdraw, resolve unavailable timedOut, finish",
            .shutDown: "release me withdraw, resolve shutDown, finish",
        ],
        .enteringAbandoned: [
            .lead0: "lead me 0 abandoned",
            .lead1: "lead me 1 abandoned",
            .follow: "leave O, finish",
            .reuse: "finish",
            .late: "finish",
            .enterFailed: "release me withdraw, finish",
            .enterRefused: "finish",
            .lateTimer: "release me withdraw, finish",
            .leftTimer: "release me withdraw, finish",
            .shutDown: "release me withdraw, finish",
        ],
        .enteringBackoff: [
            .timer: "enter again me, wake 100",
            .lateTimer: "release me withdraw, resolve unavailable timedOut, finish",
            .leftTimer: "release me withdraw, resolve unavailable timedOut, finish",
            .abandoned: "release me withdraw, finish",
            .shutDown: "release me withdraw, resolve shutDown, finish",
        ],
        .enteringRepeated: [
            .lead0: "lead me 0",
            .lead1: "lead me 1",
            .follow: "wake 3021",
            .reuse: "resolve reused O [1] 0, finish",
            .late: "release me withdraw, resolve unavailable timedOut, finish",
            .enterFailed: "wake 30",
            .enterRefused: "release me withdraw, resolve unavailable refused, finish",
            .lateTimer: "release me withdraw, resolve unavailable timedOut, finish",
            .leftTimer: "release me withdraw, resolve unavailable timedOut, finish",
            .shutDown: "release me withdraw, resolve shutDown, finish",
        ],
        .enteringAfterExpiry: [
            .lead0: "poll L",
            .lead1: "poll L",
            .follow: "poll L",
            .reuse: "resolve reused O [1] 0, finish",
            .late: "resolve unavailable timedOut, finish",
            .enterFailed: "wake 25",
            .enterRefused: "resolve unavailable refused, finish",
            .outcomeOfLeader: "release me withdraw, resolve followed L [3] 0, finish",
            .leftTimer: "release me withdraw, resolve unavailable timedOut, finish",
            .shutDown: "release me withdraw, resolve shutDown, finish",
        ],
        .waiting: [
            .outcomeOfLeader: "resolve followed L [3] 0, finish",
            .outcomeOfOther: "poll L",
            .hint: "poll L",
            .interrupted: "wake 20",
            .resumed: "wake 20",
            .timer: "poll L",
            .lateTimer: "poll L",
            .leftTimer: "poll L",
            .abandoned: "leave L, finish",
            .shutDown: "leave L, resolve shutDown, finish",
        ],
        .polling: [
            .done: "resolve followed L [2] 0, finish",
            .running: "wake 2021",
            .expired: "enter new",
            .superseded: "poll O",
            .withdrawn: "enter new",
            .gone: "enter new",
            .pollFailed: "wake 25",
            .pollShutDown: "resolve unavailable shutDown, finish",
            .outcomeOfLeader: "resolve followed L [3] 0, finish",
            .abandoned: "leave L, finish",
            .shutDown: "leave L, resolve shutDown, finish",
        ],
        .pollingTwice: [
            .done: "resolve followed L [2] 0, finish",
            .running: "poll L",
            .expired: "enter new",
            .superseded: "poll O",
            .withdrawn: "enter new",
            .gone: "enter new",
            .pollFailed: "wake 25",
            .pollShutDown: "resolve unavailable shutDown, finish",
            .outcomeOfLeader: "resolve followed L [3] 0, finish",
            .abandoned: "leave L, finish",
            .shutDown: "leave L, resolve shutDown, finish",
        ],
        // Asks about L, and is registered for O.
        .pollingEarlier: [
            .done: "leave O, resolve followed L [2] 0, finish",
            .running: "wake 2021",
            .expired: "enter new",
            .superseded: "poll O",
            .withdrawn: "poll O",
            .gone: "poll O",
            .pollFailed: "wake 25",
            .pollShutDown: "resolve unavailable shutDown, finish",
            .outcomeOfLeader: "leave O, resolve followed L [3] 0, finish",
            .abandoned: "leave L, leave O, finish",
            .shutDown: "leave L, leave O, resolve shutDown, finish",
        ],
        .watching: [
            .outcomeOfLeader: "resolve followed L [3] 0, finish",
            .outcomeOfOther: "poll L",
            .hint: "poll L",
            .interrupted: "wake 20",
            .resumed: "wake 20",
            .timer: "poll L",
            .lateTimer: "poll L",
            .leftTimer: "poll L",
            .abandoned: "leave L, finish",
            .shutDown: "leave L, resolve shutDown, finish",
        ],
        .watchingPolling: [
            .done: "resolve followed L [2] 0, finish",
            .running: "wake 2021",
            .expired: "wake 420",
            .superseded: "poll O",
            .withdrawn: "resolve followed L leaderLeft 0, finish",
            .gone: "resolve gone L, finish",
            .pollFailed: "wake 25",
            .pollShutDown: "resolve unavailable shutDown, finish",
            .outcomeOfLeader: "resolve followed L [3] 0, finish",
            .abandoned: "leave L, finish",
            .shutDown: "leave L, resolve shutDown, finish",
        ],
        .watchingExpired: [
            .outcomeOfLeader: "resolve followed L [3] 0, finish",
            .outcomeOfOther: "poll L",
            .hint: "poll L",
            .interrupted: "wake 20",
            .resumed: "wake 20",
            .timer: "poll L",
            .lateTimer: "poll L",
            .leftTimer: "settle L",
            .abandoned: "leave L, finish",
            .shutDown: "leave L, resolve shutDown, finish",
        ],
        .watchingSettling: [
            .done: "resolve followed L [2] 0, finish",
            .running: "wake 2021",
            .expired: "wake 407",
            .superseded: "poll O",
            .withdrawn: "resolve followed L leaderLeft 0, finish",
            .gone: "resolve gone L, finish",
            .pollFailed: "wake 25",
            .pollShutDown: "resolve unavailable shutDown, finish",
            .outcomeOfLeader: "resolve followed L [3] 0, finish",
            .abandoned: "leave L, finish",
            .shutDown: "leave L, resolve shutDown, finish",
        ],
        .confirming: [
            .done: "release me withdraw, resolve followed L [2] 0, finish",
            .running: "lead me 0",
            .expired: "lead me 0",
            .superseded: "poll O",
            .withdrawn: "lead me 0",
            .gone: "lead me 0",
            .pollFailed: "lead me 0",
            .pollShutDown: "lead me 0",
            .shutDown: "release me withdraw, resolve shutDown, finish",
        ],
        .confirmingAbandoned: [
            .done: "release me withdraw, finish",
            .running: "lead me 0 abandoned",
            .expired: "lead me 0 abandoned",
            .superseded: "poll O",
            .withdrawn: "lead me 0 abandoned",
            .gone: "lead me 0 abandoned",
            .pollFailed: "lead me 0 abandoned",
            .pollShutDown: "lead me 0 abandoned",
            .shutDown: "release me withdraw, finish",
        ],
        .granted: [:],
        .ended: [
            .lead0: "release me withdraw",
            .lead1: "release me withdraw",
            .follow: "leave O",
        ],
    ]

    @Test("does exactly this in each situation on each event, and nothing on all others", arguments: Situation.allCases)
    func pairs(_ situation: Situation) throws {
        let expected = try #require(Self.table[situation])
        for event in Event.allCases {
            #expect(self.answer(situation, event) == expected[event, default: ""], "\(situation), \(event)")
        }
    }

    @Test(
        "a group that does not take over recovers no lost flight, and enters again where nothing ran",
        arguments: [
            (Situation.polling, Event.gone, "resolve gone L, finish"),
            (.polling, .withdrawn, "enter new"),
            (.entering, .shutDown, "release me withdraw, resolve shutDown, finish"),
            (.enteringBackoff, .abandoned, "release me withdraw, finish"),
            (.ended, .lead0, "release me withdraw"),
        ]
    )
    func cancelPolicy(_ situation: Situation, _ event: Event, _ expected: String) {
        #expect(self.answer(situation, event, .cancel) == expected)
    }
}

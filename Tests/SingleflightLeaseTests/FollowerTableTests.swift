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
        case done, running, expired, superseded, gone, pollFailed, pollShutDown
        case outcomeOfLeader, outcomeOfOther, hint, unawaited, progressNews, resumed
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
        var machine = FollowerStateMachine(terms: .table(policy), canTakeOver: !watches.contains(situation))
        /// The token of the last `enter` that was asked for.
        var me = other
        func sent(_ actions: [FlightAction]) {
            for case .enter(let token, _, _) in actions { me = token }
        }
        func sent(_ step: FollowerStateMachine.Step) {
            if case .actions(let actions) = step { sent(actions) }
        }
        func follow() {
            sent(machine.start(now: .at(0), using: &random))
            let reply = EnterReply.follow(leader, remaining: .seconds(3))
            sent(machine.enterReplied(.success(reply), to: me, now: .at(5), using: &random))
        }
        func poll() {
            follow()
            sent(machine.timerFired(now: .at(6), using: &random))
        }
        func enterAgain() {
            poll()
            sent(machine.pollReplied(.success(.expired), now: .at(7), using: &random))
        }
        func enterAndFail() {
            sent(machine.start(now: .at(0), using: &random))
            sent(machine.enterReplied(.failure(Self.unreachable), to: me, now: .at(5), using: &random))
        }

        switch situation {
        case .idle: break
        case .entering: sent(machine.start(now: .at(0), using: &random))
        case .enteringAbandoned:
            sent(machine.start(now: .at(0), using: &random))
            sent(machine.abandoned())
        case .enteringBackoff: enterAndFail()
        case .enteringRepeated:
            enterAndFail()
            sent(machine.timerFired(now: .at(10), using: &random))
        case .enteringAfterExpiry: enterAgain()
        case .waiting: follow()
        case .polling: poll()
        case .pollingTwice:
            poll()
            sent(machine.announced(Announcement(token: leader, news: .hint), now: .at(7), using: &random))
        case .pollingEarlier:
            enterAgain()
            let reply = EnterReply.follow(other, remaining: .seconds(3))
            sent(machine.enterReplied(.success(reply), to: me, now: .at(8), using: &random))
        case .watching: follow()
        case .watchingPolling: poll()
        case .watchingExpired: enterAgain()
        case .watchingSettling:
            enterAgain()
            sent(machine.timerFired(now: .at(407), using: &random))
        case .confirming, .confirmingAbandoned:
            enterAgain()
            sent(machine.enterReplied(.success(.lead(attempt: 0)), to: me, now: .at(8), using: &random))
            if situation == .confirmingAbandoned { sent(machine.abandoned()) }
        case .granted:
            sent(machine.start(now: .at(0), using: &random))
            sent(machine.enterReplied(.success(.lead(attempt: 0)), to: me, now: .at(5), using: &random))
        case .ended:
            sent(machine.start(now: .at(0), using: &random))
            sent(machine.shutDown())
        }

        let names = me == other ? [leader: "L", other: "O"] : [leader: "L", other: "O", me: "me"]
        let text = ActionText(names: names)
        let now = LeaseInstant.at(20)
        func enter(_ reply: EnterReply) -> String {
            text.text(machine.enterReplied(.success(reply), to: me, now: now, using: &random))
        }
        func poll(_ reply: Result<PollReply, LeaseStoreError>) -> String {
            text.text(machine.pollReplied(reply, now: now, using: &random))
        }
        func hear(_ token: LeaseToken, _ news: Announcement.News) -> String {
            text.text(machine.announced(Announcement(token: token, news: news), now: now, using: &random))
        }
        switch event {
        case .start: return text.text(machine.start(now: now, using: &random))
        case .lead0: return enter(.lead(attempt: 0))
        case .lead1: return enter(.lead(attempt: 1))
        case .follow: return enter(.follow(other, remaining: .seconds(3)))
        case .reuse: return enter(.reuse(other, .value([1])))
        case .late: return enter(.late)
        case .enterFailed:
            return text.text(machine.enterReplied(.failure(Self.unreachable), to: me, now: now, using: &random))
        case .enterRefused:
            return text.text(machine.enterReplied(.failure(Self.refused), to: me, now: now, using: &random))
        case .otherLead:
            let old = LeaseToken(using: &random)
            return text.text(machine.enterReplied(.success(.late), to: old, now: now, using: &random))
        case .done: return poll(.success(.done(.value([2]))))
        case .running: return poll(.success(.running(remaining: .seconds(2))))
        case .expired: return poll(.success(.expired))
        case .superseded: return poll(.success(.superseded(by: other)))
        case .gone: return poll(.success(.gone))
        case .pollFailed: return poll(.failure(Self.unreachable))
        case .pollShutDown: return poll(.failure(LeaseStoreError(.shutDown, "shut down")))
        case .outcomeOfLeader: return hear(leader, .outcome(.value([3])))
        case .outcomeOfOther: return hear(other, .outcome(.value([4])))
        case .hint: return hear(leader, .hint)
        case .unawaited: return hear(leader, .unawaited)
        case .progressNews: return hear(leader, .progress(FlightProgress(fraction: 0.5)))
        case .resumed: return text.text(machine.inboxResumed(now: now, using: &random))
        case .timer: return text.text(machine.timerFired(now: now, using: &random))
        case .lateTimer: return text.text(machine.timerFired(now: .at(100), using: &random))
        case .leftTimer: return text.text(machine.timerFired(now: .at(407), using: &random))
        case .abandoned: return text.text(machine.abandoned())
        case .shutDown: return text.text(machine.shutDown())
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
            .lateTimer: "leave me, release me handOver, resolve unavailable timedOut, finish",
            .leftTimer: "leave me, release me handOver, resolve unavailable timedOut, finish",
            .shutDown: "leave me, release me handOver, resolve shutDown, finish",
        ],
        .enteringAbandoned: [
            .lead0: "lead me 0 abandoned",
            .lead1: "lead me 1 abandoned",
            .follow: "leave O, finish",
            .reuse: "finish",
            .late: "finish",
            .enterFailed: "leave me, release me handOver, finish",
            .enterRefused: "finish",
            .lateTimer: "leave me, release me handOver, finish",
            .leftTimer: "leave me, release me handOver, finish",
            .shutDown: "leave me, release me handOver, finish",
        ],
        .enteringBackoff: [
            .timer: "enter again me, wake 100",
            .lateTimer: "leave me, release me handOver, resolve unavailable timedOut, finish",
            .leftTimer: "leave me, release me handOver, resolve unavailable timedOut, finish",
            .abandoned: "leave me, release me handOver, finish",
            .shutDown: "leave me, release me handOver, resolve shutDown, finish",
        ],
        .enteringRepeated: [
            .lead0: "lead me 0",
            .lead1: "lead me 1",
            .follow: "wake 3021",
            .reuse: "resolve reused O [1] 0, finish",
            .late: "leave me, release me handOver, resolve unavailable timedOut, finish",
            .enterFailed: "wake 30",
            .enterRefused: "leave me, release me handOver, resolve unavailable refused, finish",
            .lateTimer: "leave me, release me handOver, resolve unavailable timedOut, finish",
            .leftTimer: "leave me, release me handOver, resolve unavailable timedOut, finish",
            .shutDown: "leave me, release me handOver, resolve shutDown, finish",
        ],
        .enteringAfterExpiry: [
            .lead0: "poll L",
            .lead1: "poll L",
            .follow: "poll L",
            .reuse: "resolve reused O [1] 0, finish",
            .late: "resolve unavailable timedOut, finish",
            .enterFailed: "wake 25",
            .enterRefused: "resolve unavailable refused, finish",
            .outcomeOfLeader: "leave me, release me handOver, resolve followed L [3] 0, finish",
            .leftTimer: "leave me, release me handOver, resolve unavailable timedOut, finish",
            .shutDown: "leave me, release me handOver, resolve shutDown, finish",
        ],
        .waiting: [
            .outcomeOfLeader: "resolve followed L [3] 0, finish",
            .outcomeOfOther: "poll L",
            .hint: "poll L",
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
            .gone: "poll O",
            .pollFailed: "wake 25",
            .pollShutDown: "resolve unavailable shutDown, finish",
            .outcomeOfLeader: "leave O, resolve followed L [3] 0, finish",
            .abandoned: "leave L, finish",
            .shutDown: "leave L, resolve shutDown, finish",
        ],
        .watching: [
            .outcomeOfLeader: "resolve followed L [3] 0, finish",
            .outcomeOfOther: "poll L",
            .hint: "poll L",
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
            .gone: "resolve gone L, finish",
            .pollFailed: "wake 25",
            .pollShutDown: "resolve unavailable shutDown, finish",
            .outcomeOfLeader: "resolve followed L [3] 0, finish",
            .abandoned: "leave L, finish",
            .shutDown: "leave L, resolve shutDown, finish",
        ],
        .confirming: [
            .done: "release me handOver, resolve followed L [2] 0, finish",
            .running: "lead me 0",
            .expired: "lead me 0",
            .superseded: "poll O",
            .gone: "lead me 0",
            .pollFailed: "lead me 0",
            .pollShutDown: "lead me 0",
            .shutDown: "release me handOver, resolve shutDown, finish",
        ],
        .confirmingAbandoned: [
            .done: "release me handOver, finish",
            .running: "lead me 0 abandoned",
            .expired: "lead me 0 abandoned",
            .superseded: "poll O",
            .gone: "lead me 0 abandoned",
            .pollFailed: "lead me 0 abandoned",
            .pollShutDown: "lead me 0 abandoned",
            .shutDown: "release me handOver, finish",
        ],
        .granted: [:],
        .ended: [
            .lead0: "release me handOver",
            .lead1: "release me handOver",
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
        "a group that does not take over ends the flight's waiters, and recovers no lost flight",
        arguments: [
            (Situation.polling, Event.gone, "resolve gone L, finish"),
            (.entering, .shutDown, "leave me, release me cancelWaiters, resolve shutDown, finish"),
            (.enteringBackoff, .abandoned, "leave me, release me cancelWaiters, finish"),
            (.ended, .lead0, "release me cancelWaiters"),
        ]
    )
    func cancelPolicy(_ situation: Situation, _ event: Event, _ expected: String) {
        #expect(self.answer(situation, event, .cancel) == expected)
    }
}

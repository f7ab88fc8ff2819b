import Testing

@testable import SingleflightLease

/// What a leader does in each situation on each event: all pairs, most of which must do nothing.
@Suite("The leader's state machine")
struct LeaderTableTests {
    /// Where the machine is when the event comes, at 20 ms, under a lease that was asked for at 0 ms.
    enum Situation: String, CaseIterable, CustomTestStringConvertible {
        case confirming
        case leading, renewing, abandonedAsking, abandonedAwaited, abandonedRenewing
        case progressed, progressedRenewing
        case completing, completingAbandoned, completingBackoff, completingRepeated
        case completingTold, completingTooLong
        case ended

        var testDescription: String { self.rawValue }
    }

    enum Event: String, CaseIterable {
        case renewed, renewedUnawaited, renewalLost, renewalRevoked, renewalCanceled, renewalExpired, renewalFailed
        case accepted, duplicate, stale, staleRevoked, staleCanceled, unknown, completionFailed, completionRefused
        case released, awaited, notHeld, releaseFailed
        case canceled, value, hint, unawaited, progressNews, newsOfOther, resumed
        case timer, renewalTimer, tooLongTimer, deadlineTimer
        case finished, abandoned, shutDown
        case progress, left, leftForReason
    }

    private static let unreachable = LeaseStoreError(.unavailable, "unreachable", mayHaveExecuted: true)
    private static let refused = LeaseStoreError(.refused, "refused")
    private static let revoked = CanceledFlight.revoked(by: "ops", reason: "stuck")

    /// Drives a new machine into a situation, and then lets the event come.
    private func answer(_ situation: Situation, _ event: Event) -> String {
        var random = CountingGenerator()
        let (me, other) = (LeaseToken(using: &random), LeaseToken(using: &random))
        let grant = FollowerStateMachine.Grant(
            token: me,
            sentAt: .at(0),
            attempt: 1,
            isAbandoned: situation == .confirming
        )
        var machine = LeaderStateMachine(grant: grant, terms: .table(), tooLong: .failure([0]), now: .at(5))
        _ = machine.start()
        func renew() { _ = machine.announced(Announcement(token: me, news: .hint), now: .at(10)) }
        func abandon() {
            _ = machine.abandoned()
            _ = machine.releaseReplied(.success(.awaited(waiters: 1)))
        }
        func complete() { _ = machine.operationFinished(.value([7]), now: .at(10)) }
        func fail(at time: Int) {
            _ = machine.completeReplied(.failure(Self.unreachable), now: .at(time), using: &random)
        }

        switch situation {
        case .confirming, .leading: break
        case .renewing: renew()
        case .abandonedAsking: _ = machine.abandoned()
        case .abandonedAwaited: abandon()
        case .abandonedRenewing:
            abandon()
            renew()
        case .progressed: _ = machine.progressed()
        case .progressedRenewing:
            renew()
            _ = machine.progressed()
        case .completing: complete()
        case .completingAbandoned:
            complete()
            _ = machine.abandoned()
        case .completingBackoff:
            complete()
            fail(at: 15)
        case .completingRepeated:
            complete()
            fail(at: 15)
            _ = machine.timerFired(now: .at(18))
        case .completingTold:
            complete()
            fail(at: 110)
            _ = machine.timerFired(now: .at(120))
        case .completingTooLong: _ = machine.timerFired(now: .at(2005))
        case .ended: _ = machine.shutDown()
        }

        let now = LeaseInstant.at(20)
        func renewal(_ reply: Result<RenewReply, LeaseStoreError>) -> [FlightAction] {
            machine.renewReplied(reply, now: now, using: &random)
        }
        func completion(_ reply: Result<CompleteReply, LeaseStoreError>) -> [FlightAction] {
            machine.completeReplied(reply, now: now, using: &random)
        }
        func hear(_ news: Announcement.News, _ token: LeaseToken) -> [FlightAction] {
            machine.announced(Announcement(token: token, news: news), now: now)
        }
        let actions: [FlightAction] =
            switch event {
            case .renewed: renewal(.success(.renewed(waiters: 1)))
            case .renewedUnawaited: renewal(.success(.renewed(waiters: 0)))
            case .renewalLost: renewal(.success(.lost()))
            case .renewalRevoked: renewal(.success(.lost(reason: Self.revoked)))
            case .renewalCanceled: renewal(.success(.lost(reason: .leaseExpired)))
            case .renewalExpired: renewal(.success(.expired))
            case .renewalFailed: renewal(.failure(Self.unreachable))
            case .accepted: completion(.success(.accepted(waiters: 2)))
            case .duplicate: completion(.success(.duplicate))
            case .stale: completion(.success(.stale(current: other)))
            case .staleRevoked: completion(.success(.stale(current: other, reason: Self.revoked)))
            case .staleCanceled: completion(.success(.stale(current: other, reason: .leaseExpired)))
            case .unknown: completion(.success(.unknown(current: nil)))
            case .completionFailed: completion(.failure(Self.unreachable))
            case .completionRefused: completion(.failure(Self.refused))
            case .released: machine.releaseReplied(.success(.released(waiters: 0)))
            case .awaited: machine.releaseReplied(.success(.awaited(waiters: 1)))
            case .notHeld: machine.releaseReplied(.success(.notHeld))
            case .releaseFailed: machine.releaseReplied(.failure(Self.unreachable))
            case .canceled: hear(.outcome(.canceled(Self.revoked)), me)
            case .value: hear(.outcome(.value([1])), me)
            case .hint: hear(.hint, me)
            case .unawaited: hear(.unawaited, me)
            case .progressNews: hear(.progress(FlightProgress(fraction: 0.5)), me)
            case .newsOfOther: hear(.outcome(.canceled(.leaseExpired)), other)
            case .resumed: machine.inboxResumed(now: now, using: &random)
            case .timer: machine.timerFired(now: now)
            case .renewalTimer: machine.timerFired(now: .at(1000))
            case .tooLongTimer: machine.timerFired(now: .at(2005))
            case .deadlineTimer: machine.timerFired(now: .at(2850))
            case .finished: machine.operationFinished(.value([8]), now: now)
            case .abandoned: machine.abandoned()
            case .shutDown: machine.shutDown()
            case .progress: machine.progressed()
            case .left: machine.leaderLeaves(reason: nil)
            case .leftForReason: machine.leaderLeaves(reason: "why")
            }
        return ActionText(names: [me: "me", other: "O"]).text(actions)
    }

    /// What is not listed must do nothing.
    private static let table: [Situation: [Event: String]] = [
        .confirming: [
            .released: "finish",
            .awaited: "run, wake 1000",
            .notHeld: "finish",
            .releaseFailed: "finish",
            .timer: "wake 2850",
            .renewalTimer: "wake 2850",
            .tooLongTimer: "wake 2850",
            .deadlineTimer: "stop leaseLost, finish",
            .shutDown: "release me handOver, finish",
        ],
        .leading: [
            .canceled: #"stop leaseLost, resolve lost revoked(by: "ops", reason: "stuck"), finish"#,
            .value: "renew me 1 1, wake 2005",
            .hint: "renew me 1 1, wake 2005",
            .resumed: "wake 20",
            .timer: "wake 1000",
            .renewalTimer: "renew me 1 1, wake 2005",
            .tooLongTimer: "stop tooLong, complete me failure [0]",
            .deadlineTimer: "stop leaseLost, resolve lost leaseExpired, finish",
            .finished: "complete me [8]",
            .abandoned: "release me unlessAwaited, wake 1000",
            .shutDown: "stop shutDown, release me handOver, resolve shutDown, finish",
            .progress: "wake 400",
            .left: "release me handOver, resolve left, finish",
            .leftForReason: "revoke me why, resolve canceled why, finish",
        ],
        .renewing: [
            .renewed: "wake 1010",
            .renewedUnawaited: "wake 1010",
            .renewalLost: "stop leaseLost, resolve lost -, finish",
            .renewalRevoked: #"stop leaseLost, resolve lost revoked(by: "ops", reason: "stuck"), finish"#,
            .renewalCanceled: "stop leaseLost, resolve lost -, finish",
            .renewalExpired: "stop leaseLost, resolve lost leaseExpired, finish",
            .renewalFailed: "wake 30",
            .canceled: #"stop leaseLost, resolve lost revoked(by: "ops", reason: "stuck"), finish"#,
            .resumed: "wake 2005",
            .timer: "wake 2005",
            .renewalTimer: "wake 2005",
            .tooLongTimer: "stop tooLong, complete me failure [0]",
            .deadlineTimer: "stop leaseLost, resolve lost leaseExpired, finish",
            .finished: "complete me [8]",
            .abandoned: "release me unlessAwaited, wake 2005",
            .shutDown: "stop shutDown, release me handOver, resolve shutDown, finish",
            .progress: "wake 2005",
            .left: "release me handOver, resolve left, finish",
            .leftForReason: "revoke me why, resolve canceled why, finish",
        ],
        .progressed: [
            .canceled: #"stop leaseLost, resolve lost revoked(by: "ops", reason: "stuck"), finish"#,
            .value: "renew me 1 1, wake 2005",
            .hint: "renew me 1 1, wake 2005",
            .resumed: "wake 20",
            .timer: "wake 400",
            .renewalTimer: "renew me 1 1, wake 2005",
            .tooLongTimer: "stop tooLong, complete me failure [0]",
            .deadlineTimer: "stop leaseLost, resolve lost leaseExpired, finish",
            .finished: "complete me [8]",
            .abandoned: "release me unlessAwaited, wake 400",
            .shutDown: "stop shutDown, release me handOver, resolve shutDown, finish",
            .left: "release me handOver, resolve left, finish",
            .leftForReason: "revoke me why, resolve canceled why, finish",
        ],
        .progressedRenewing: [
            .renewed: "wake 410",
            .renewedUnawaited: "wake 1010",
            .renewalLost: "stop leaseLost, resolve lost -, finish",
            .renewalRevoked: #"stop leaseLost, resolve lost revoked(by: "ops", reason: "stuck"), finish"#,
            .renewalCanceled: "stop leaseLost, resolve lost -, finish",
            .renewalExpired: "stop leaseLost, resolve lost leaseExpired, finish",
            .renewalFailed: "wake 30",
            .canceled: #"stop leaseLost, resolve lost revoked(by: "ops", reason: "stuck"), finish"#,
            .resumed: "wake 2005",
            .timer: "wake 2005",
            .renewalTimer: "wake 2005",
            .tooLongTimer: "stop tooLong, complete me failure [0]",
            .deadlineTimer: "stop leaseLost, resolve lost leaseExpired, finish",
            .finished: "complete me [8]",
            .abandoned: "release me unlessAwaited, wake 2005",
            .shutDown: "stop shutDown, release me handOver, resolve shutDown, finish",
            .left: "release me handOver, resolve left, finish",
            .leftForReason: "revoke me why, resolve canceled why, finish",
        ],
        .abandonedAsking: [
            .released: "stop abandoned, finish",
            .notHeld: "stop leaseLost, finish",
            .canceled: "stop leaseLost, finish",
            .value: "renew me 1 1, wake 2005",
            .hint: "renew me 1 1, wake 2005",
            .resumed: "wake 20",
            .timer: "wake 1000",
            .renewalTimer: "renew me 1 1, wake 2005",
            .tooLongTimer: "stop tooLong, complete me failure [0]",
            .deadlineTimer: "stop leaseLost, finish",
            .finished: "complete me [8]",
            .shutDown: "stop shutDown, release me handOver, finish",
            .progress: "wake 400",
            .left: "release me handOver, finish",
            .leftForReason: "revoke me why, finish",
        ],
        .abandonedAwaited: [
            .canceled: "stop leaseLost, finish",
            .value: "renew me 1 1, wake 2005",
            .hint: "renew me 1 1, wake 2005",
            .unawaited: "release me unlessAwaited, wake 1000",
            .resumed: "wake 20",
            .timer: "wake 1000",
            .renewalTimer: "renew me 1 1, wake 2005",
            .tooLongTimer: "stop tooLong, complete me failure [0]",
            .deadlineTimer: "stop leaseLost, finish",
            .finished: "complete me [8]",
            .abandoned: "release me unlessAwaited, wake 1000",
            .shutDown: "stop shutDown, release me handOver, finish",
            .progress: "wake 400",
            .left: "release me handOver, finish",
            .leftForReason: "revoke me why, finish",
        ],
        .abandonedRenewing: [
            .renewed: "wake 1010",
            .renewedUnawaited: "release me unlessAwaited, wake 1010",
            .renewalLost: "stop leaseLost, finish",
            .renewalRevoked: "stop leaseLost, finish",
            .renewalCanceled: "stop leaseLost, finish",
            .renewalExpired: "stop leaseLost, finish",
            .renewalFailed: "wake 30",
            .canceled: "stop leaseLost, finish",
            .unawaited: "release me unlessAwaited, wake 2005",
            .resumed: "wake 2005",
            .timer: "wake 2005",
            .renewalTimer: "wake 2005",
            .tooLongTimer: "stop tooLong, complete me failure [0]",
            .deadlineTimer: "stop leaseLost, finish",
            .finished: "complete me [8]",
            .abandoned: "release me unlessAwaited, wake 2005",
            .shutDown: "stop shutDown, release me handOver, finish",
            .progress: "wake 2005",
            .left: "release me handOver, finish",
            .leftForReason: "revoke me why, finish",
        ],
        .completing: [
            .accepted: "resolve accepted 2, finish",
            .duplicate: "resolve accepted -, finish",
            .stale: "resolve lost -, finish",
            .staleRevoked: #"resolve lost revoked(by: "ops", reason: "stuck"), finish"#,
            .staleCanceled: "resolve lost -, finish",
            .unknown: "resolve lost -, finish",
            .completionFailed: "wake 30",
            .completionRefused: "release me handOver, resolve unverified refused, finish",
            .shutDown: "resolve shutDown, finish",
        ],
        .completingAbandoned: [
            .accepted: "finish",
            .duplicate: "finish",
            .stale: "finish",
            .staleRevoked: "finish",
            .staleCanceled: "finish",
            .unknown: "finish",
            .completionFailed: "wake 30",
            .completionRefused: "release me handOver, finish",
            .shutDown: "finish",
        ],
        .completingBackoff: [
            .timer: "complete me [7]",
            .renewalTimer: "complete me [7]",
            .tooLongTimer: "complete me [7]",
            .deadlineTimer: "complete me [7]",
            .shutDown: "resolve shutDown, finish",
        ],
        .completingRepeated: [
            .accepted: "resolve accepted 2, finish",
            .duplicate: "resolve accepted -, finish",
            .stale: "resolve lost -, finish",
            .staleRevoked: #"resolve lost revoked(by: "ops", reason: "stuck"), finish"#,
            .staleCanceled: "resolve lost -, finish",
            .unknown: "resolve unverified unavailable, finish",
            .completionFailed: "wake 40",
            .completionRefused: "release me handOver, resolve unverified refused, finish",
            .shutDown: "resolve shutDown, finish",
        ],
        .completingTold: [
            .accepted: "finish",
            .duplicate: "finish",
            .stale: "finish",
            .staleRevoked: "finish",
            .staleCanceled: "finish",
            .unknown: "finish",
            .completionFailed: "wake 40",
            .completionRefused: "release me handOver, finish",
            .shutDown: "finish",
        ],
        .completingTooLong: [
            .accepted: "resolve tooLong, finish",
            .duplicate: "resolve tooLong, finish",
            .stale: "resolve tooLong, finish",
            .staleRevoked: "resolve tooLong, finish",
            .staleCanceled: "resolve tooLong, finish",
            .unknown: "resolve tooLong, finish",
            .completionFailed: "wake 30",
            .completionRefused: "release me handOver, resolve tooLong, finish",
            .shutDown: "resolve tooLong, finish",
        ],
        .ended: [:],
    ]

    @Test("does exactly this in each situation on each event, and nothing on all others", arguments: Situation.allCases)
    func pairs(_ situation: Situation) throws {
        let expected = try #require(Self.table[situation])
        for event in Event.allCases {
            #expect(self.answer(situation, event) == expected[event, default: ""], "\(situation), \(event)")
        }
    }
}

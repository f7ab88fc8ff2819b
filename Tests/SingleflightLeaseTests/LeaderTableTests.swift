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
        case accepted, duplicate, stale, staleRevoked, staleCanceled, unknown
        case completionFailed, completionRefused, completionFull
        case released, awaited, notHeld, releaseFailed
        case canceled, value, hint, unawaited, progressNews, newsOfOther, interrupted, resumed
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
        let grant = Following.Grant(
            token: me,
            sentAt: .at(0),
            attempt: 1,
            isAbandoned: situation == .confirming
        )
        var machine = Leading(
            grant: grant,
            terms: .table(),
            outcomes: .init(tooLong: .failure([0]), storeFull: .failure([1])),
            now: .at(5)
        )
        _ = machine.start()
        func handle(_ event: FlightEvent, at milliseconds: Int = 10) {
            _ = machine.handle(event, now: .at(milliseconds), using: &random)
        }
        func renew() { handle(.heard(.announced(Announcement(token: me, news: .hint)))) }
        func abandon() {
            handle(.abandoned)
            handle(.replied(.success(.release(.awaited(waiters: 1))), to: .release(me, .unlessAwaited)))
        }
        func complete() { handle(.operationEnded(.value([7]))) }
        func fail(at time: Int) {
            handle(.replied(.failure(Self.unreachable), to: .complete(me, .value([7]))), at: time)
        }

        switch situation {
        case .confirming, .leading: break
        case .renewing: renew()
        case .abandonedAsking: handle(.abandoned)
        case .abandonedAwaited: abandon()
        case .abandonedRenewing:
            abandon()
            renew()
        case .progressed: handle(.progressed)
        case .progressedRenewing:
            renew()
            handle(.progressed)
        case .completing: complete()
        case .completingAbandoned:
            complete()
            handle(.abandoned)
        case .completingBackoff:
            complete()
            fail(at: 15)
        case .completingRepeated:
            complete()
            fail(at: 15)
            handle(.timer, at: 18)
        case .completingTold:
            complete()
            fail(at: 110)
            handle(.timer, at: 120)
        case .completingTooLong: handle(.timer, at: 2005)
        case .ended: handle(.heard(.shuttingDown))
        }

        let wasFinal = machine.isFinal
        func happens(_ event: FlightEvent, at milliseconds: Int = 20) -> FlightActions {
            machine.handle(event, now: .at(milliseconds), using: &random)
        }
        func renewal(_ reply: Result<RenewReply, LeaseStoreError>) -> FlightActions {
            happens(.replied(reply.map { .renew($0) }, to: .renew(me, renewals: 1, isAbandoned: false)))
        }
        func completion(_ reply: Result<CompleteReply, LeaseStoreError>) -> FlightActions {
            happens(.replied(reply.map { .complete($0) }, to: .complete(me, .value([7]))))
        }
        func release(_ reply: Result<ReleaseReply, LeaseStoreError>) -> FlightActions {
            happens(.replied(reply.map { .release($0) }, to: .release(me, .unlessAwaited)))
        }
        func hear(_ news: Announcement.News, _ token: LeaseToken) -> FlightActions {
            happens(.heard(.announced(Announcement(token: token, news: news))))
        }
        let actions: FlightActions =
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
            case .completionFull: completion(.failure(LeaseStoreError(.full, "no room")))
            case .released: release(.success(.released(waiters: 0)))
            case .awaited: release(.success(.awaited(waiters: 1)))
            case .notHeld: release(.success(.notHeld))
            case .releaseFailed: release(.failure(Self.unreachable))
            case .canceled: hear(.outcome(.canceled(Self.revoked)), me)
            case .value: hear(.outcome(.value([1])), me)
            case .hint: hear(.hint, me)
            case .unawaited: hear(.unawaited, me)
            case .progressNews: hear(.progress(FlightProgress(fraction: 0.5)), me)
            case .newsOfOther: hear(.outcome(.canceled(.leaseExpired)), other)
            case .interrupted: happens(.heard(.interrupted))
            case .resumed: happens(.heard(.resumed))
            case .timer: happens(.timer)
            case .renewalTimer: happens(.timer, at: 1000)
            case .tooLongTimer: happens(.timer, at: 2005)
            case .deadlineTimer: happens(.timer, at: 2850)
            case .finished: happens(.operationEnded(.value([8])))
            case .abandoned: happens(.abandoned)
            case .shutDown: happens(.heard(.shuttingDown))
            case .progress: happens(.progressed)
            case .left: happens(.leaderLeft(reason: nil))
            case .leftForReason: happens(.leaderLeft(reason: "why"))
            }
        return ActionText(names: [me: "me", other: "O"]).text(actions, ends: machine.isFinal && !wasFinal)
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
            .shutDown: "release me withdraw, finish",
        ],
        .leading: [
            .canceled: #"stop leaseLost, resolve lost revoked(by: "ops", reason: "stuck"), finish"#,
            .value: "renew me 1, wake 2005",
            .hint: "renew me 1, wake 2005",
            .resumed: "wake 20",
            .timer: "wake 1000",
            .renewalTimer: "renew me 1, wake 2005",
            .tooLongTimer: "stop tooLong, complete me failure [0]",
            .deadlineTimer: "stop leaseLost, resolve lost leaseExpired, finish",
            .finished: "complete me [8]",
            .abandoned: "release me unlessAwaited, wake 1000",
            .shutDown: "stop shutDown, release me shutDown, resolve shutDown, finish",
            .progress: "wake 400",
            .left: "release me giveUp, resolve left, finish",
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
            .shutDown: "stop shutDown, release me shutDown, resolve shutDown, finish",
            .progress: "wake 2005",
            .left: "release me giveUp, resolve left, finish",
            .leftForReason: "revoke me why, resolve canceled why, finish",
        ],
        .progressed: [
            .canceled: #"stop leaseLost, resolve lost revoked(by: "ops", reason: "stuck"), finish"#,
            .value: "renew me 1, wake 2005",
            .hint: "renew me 1, wake 2005",
            .resumed: "wake 20",
            .timer: "wake 400",
            .renewalTimer: "renew me 1, wake 2005",
            .tooLongTimer: "stop tooLong, complete me failure [0]",
            .deadlineTimer: "stop leaseLost, resolve lost leaseExpired, finish",
            .finished: "complete me [8]",
            .abandoned: "release me unlessAwaited, wake 400",
            .shutDown: "stop shutDown, release me shutDown, resolve shutDown, finish",
            .left: "release me giveUp, resolve left, finish",
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
            .shutDown: "stop shutDown, release me shutDown, resolve shutDown, finish",
            .left: "release me giveUp, resolve left, finish",
            .leftForReason: "revoke me why, resolve canceled why, finish",
        ],
        .abandonedAsking: [
            .released: "stop abandoned, finish",
            .notHeld: "stop leaseLost, finish",
            .canceled: "stop leaseLost, finish",
            .value: "renew me 1 abandoned, wake 2005",
            .hint: "renew me 1 abandoned, wake 2005",
            .resumed: "wake 20",
            .timer: "wake 1000",
            .renewalTimer: "renew me 1 abandoned, wake 2005",
            .tooLongTimer: "stop tooLong, complete me failure [0]",
            .deadlineTimer: "stop leaseLost, finish",
            .finished: "complete me [8]",
            .shutDown: "stop shutDown, release me shutDown, finish",
            .progress: "wake 400",
            .left: "release me giveUp, finish",
            .leftForReason: "revoke me why, finish",
        ],
        .abandonedAwaited: [
            .canceled: "stop leaseLost, finish",
            .value: "renew me 1 abandoned, wake 2005",
            .hint: "renew me 1 abandoned, wake 2005",
            .unawaited: "release me unlessAwaited, wake 1000",
            .resumed: "wake 20",
            .timer: "wake 1000",
            .renewalTimer: "renew me 1 abandoned, wake 2005",
            .tooLongTimer: "stop tooLong, complete me failure [0]",
            .deadlineTimer: "stop leaseLost, finish",
            .finished: "complete me [8]",
            .abandoned: "release me unlessAwaited, wake 1000",
            .shutDown: "stop shutDown, release me shutDown, finish",
            .progress: "wake 400",
            .left: "release me giveUp, finish",
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
            .shutDown: "stop shutDown, release me shutDown, finish",
            .progress: "wake 2005",
            .left: "release me giveUp, finish",
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
            .completionRefused: "release me giveUp, resolve unverified refused, finish",
            .completionFull: "resolve unverified full, complete me failure [1]",
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
            .completionRefused: "release me giveUp, finish",
            .completionFull: "complete me failure [1]",
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
            .completionRefused: "release me giveUp, resolve unverified refused, finish",
            .completionFull: "resolve unverified full, complete me failure [1]",
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
            .completionRefused: "release me giveUp, finish",
            .completionFull: "complete me failure [1]",
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
            .completionRefused: "release me giveUp, resolve tooLong, finish",
            .completionFull: "resolve tooLong, complete me failure [1]",
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

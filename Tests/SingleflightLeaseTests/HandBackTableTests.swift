import Testing

@testable import SingleflightLease

/// What is done for a request to lead that was given up, in each situation on each event: all pairs.
@Suite("Handing back what may be held")
struct HandBackTableTests {
    /// Where the machine is when the event comes, at 120 ms. The request was sent once, and may be carried out until
    /// 100 ms; where it says so, until 500 ms, or more than once. Its lease ends at 3000 ms.
    enum Situation: String, CaseIterable {
        case waiting, releasing, releasingStillValid, releasingRepeated, releasingAgain, ended
    }

    enum Event: String, CaseIterable {
        case timer, released, awaited, notHeld, failed, refused
        case lead, follow, reuse, late, enterFailed
        case resumed, shutDown
    }

    private func answer(_ situation: Situation, _ event: Event, now: LeaseInstant = .at(120)) -> String {
        var random = CountingGenerator()
        let (me, leader) = (LeaseToken(using: &random), LeaseToken(using: &random))
        let debt = HandingBack.Debt(
            token: me,
            validUntil: .at(situation == .releasingStillValid ? 500 : 100),
            endsAt: .at(3000),
            isRepeated: situation == .releasingRepeated
        )
        var machine = HandingBack(
            debt,
            isReleasing: situation != .waiting,
            commandTimeout: .milliseconds(100)
        )
        let request = FlightRequest.enter(me, isRepetition: false, until: .at(100))
        func handle(_ event: FlightEvent) { _ = machine.handle(event, now: now, using: &random) }
        switch situation {
        case .waiting, .releasing, .releasingStillValid, .releasingRepeated: break
        case .releasingAgain: handle(.replied(.success(.enter(.lead(attempt: 0))), to: request))
        case .ended: handle(.heard(.shuttingDown))
        }
        let wasFinal = machine.isFinal
        func happens(_ event: FlightEvent) -> FlightActions { machine.handle(event, now: now, using: &random) }
        func reply(_ reply: Result<ReleaseReply, LeaseStoreError>) -> FlightActions {
            happens(.replied(reply.map { .release($0) }, to: .release(me, .withdraw)))
        }
        func entered(_ reply: Result<EnterReply, LeaseStoreError>) -> FlightActions {
            happens(.replied(reply.map { .enter($0) }, to: request))
        }
        let actions =
            switch event {
            case .timer: happens(.timer)
            case .released: reply(.success(.released(waiters: 1)))
            case .awaited: reply(.success(.awaited(waiters: 1)))
            case .notHeld: reply(.success(.notHeld))
            case .failed: reply(.failure(LeaseStoreError(.unavailable, "unreachable")))
            case .refused: reply(.failure(LeaseStoreError(.refused, "refused")))
            case .lead: entered(.success(.lead(attempt: 0)))
            case .follow: entered(.success(.follow(leader, remaining: .seconds(1))))
            case .reuse: entered(.success(.reuse(leader, .value([]))))
            case .late: entered(.success(.late))
            case .enterFailed: entered(.failure(LeaseStoreError(.timedOut, "no answer")))
            case .resumed: happens(.heard(.resumed))
            case .shutDown: happens(.heard(.shuttingDown))
            }
        return ActionText(names: [me: "me", leader: "L"]).text(actions, ends: machine.isFinal && !wasFinal)
    }

    /// What is not listed must do nothing.
    private static let table: [Situation: [Event: String]] = [
        .waiting: [
            .timer: "release me withdraw",
            .lead: "release me withdraw",
            .follow: "leave L",
            .resumed: "wake 120",
            .shutDown: "release me withdraw, finish",
        ],
        .releasing: [
            .released: "finish",
            .awaited: "finish",
            .notHeld: "wake 220",
            .failed: "wake 125",
            .refused: "finish",
            .follow: "leave L",
            .shutDown: "finish",
        ],
        .releasingStillValid: [
            .released: "finish",
            .awaited: "finish",
            .notHeld: "wake 220",
            .failed: "wake 125",
            .refused: "finish",
            .follow: "leave L",
            .shutDown: "finish",
        ],
        .releasingRepeated: [
            // Each sending may be granted a lease of its own.
            .released: "wake 220",
            .awaited: "finish",
            .notHeld: "wake 220",
            .failed: "wake 125",
            .refused: "finish",
            .follow: "leave L",
            .shutDown: "finish",
        ],
        .releasingAgain: [
            .released: "release me withdraw",
            .awaited: "release me withdraw",
            .notHeld: "release me withdraw",
            .failed: "release me withdraw",
            .refused: "release me withdraw",
            .follow: "leave L",
            .shutDown: "finish",
        ],
        .ended: [
            .lead: "release me withdraw",
            .follow: "leave L",
        ],
    ]

    @Test("does exactly this in each situation on each event, and nothing on all others", arguments: Situation.allCases)
    func pairs(_ situation: Situation) throws {
        let expected = try #require(Self.table[situation])
        for event in Event.allCases {
            #expect(self.answer(situation, event) == expected[event, default: ""], "\(situation), \(event)")
        }
    }

    @Test("asks a last time when the lease's time is over, and no more after that")
    func lastTime() {
        #expect(self.answer(.releasing, .notHeld, now: .at(2950)) == "wake 3000")
        for event in [Event.notHeld, .failed, .released] {
            #expect(self.answer(.releasing, event, now: .at(3000)) == "finish")
        }
    }

    @Test("asks less and less often while nothing is held")
    func intervals() {
        var random = CountingGenerator()
        let debt = HandingBack.Debt(
            token: LeaseToken(using: &random),
            validUntil: .at(100),
            endsAt: .at(3000),
            isRepeated: false
        )
        var machine = HandingBack(debt, isReleasing: false, commandTimeout: .milliseconds(100))
        var actions = machine.start()
        var times: [LeaseInstant] = []
        while case .wake(let time) = actions.last {
            times.append(time)
            _ = machine.handle(.timer, now: time, using: &random)
            let reply = FlightEvent.replied(.success(.release(.notHeld)), to: .release(debt.token, .withdraw))
            actions = machine.handle(reply, now: time, using: &random)
        }
        #expect(times == [100, 200, 400, 800, 1600, 3000].map { .at($0) })
        #expect(actions.isEmpty, "the flight's machine ends with its last phase")
        #expect(machine.isFinal)
    }

    /// A flight and its store, one answer after the other.
    private struct Conversation {
        var random = CountingGenerator()
        var machine = FlightMachine(terms: .table(), outcomes: .init(tooLong: .failure([]), storeFull: .failure([])))
        let leader: LeaseToken
        var now = LeaseInstant.at(0)
        var actions: FlightActions = []

        static let cut = LeaseStoreError(.unavailable, "the connection broke", mayHaveExecuted: true)

        /// The flight has asked to lead, its connection broke, and it asks again.
        ///
        /// - Parameter isTold: whether it is told to follow then.
        init(isTold: Bool = true) throws {
            self.leader = LeaseToken(using: &self.random)
            self.handle(.start)
            self.earlier = try self.token()
            try self.answer(.failure(Self.cut))
            try self.wake()
            guard isTold else { return }
            try self.answer(.success(.enter(.follow(self.leader, remaining: .seconds(3)))))
        }

        /// Of its first request, which may be carried out yet.
        private(set) var earlier: LeaseToken?

        /// Of the request to lead that it sends now.
        func token() throws -> LeaseToken {
            try #require(
                self.actions.compactMap { if case .send(.enter(let token, _, _)) = $0 { token } else { nil } }.first
            )
        }

        mutating func handle(_ event: FlightEvent) {
            self.actions = self.machine.handle(event, now: self.now, using: &self.random)
        }

        /// What was sent last.
        func request() throws -> FlightRequest {
            try #require(self.actions.compactMap { if case .send(let request) = $0 { request } else { nil } }.last)
        }

        /// The answer to what was sent last.
        mutating func answer(_ reply: Result<LeaseReply, LeaseStoreError>) throws {
            let request = try self.request()
            self.now = self.now.advanced(by: .milliseconds(1))
            self.handle(.replied(reply, to: request))
        }

        mutating func wake() throws {
            self.now = try #require(self.actions.compactMap { if case .wake(let time) = $0 { time } else { nil } }.last)
            self.handle(.timer)
        }

        mutating func hint() {
            self.handle(.heard(.announced(Announcement(token: self.leader, news: .hint))))
        }

        func releases(_ token: LeaseToken?) -> Bool {
            self.actions.contains { if case .send(.release(token, _)) = $0 { true } else { false } }
        }
    }

    /// A request whose connection broke may be carried out later, also when the process asked anew because a leader
    /// handed over, and led: nobody would work under the lease that the first request is granted then.
    @Test("of an earlier request is handed back by a flight that led under a later one")
    func earlierRequest() throws {
        var flight = try Conversation()
        flight.hint()
        try flight.answer(.success(.poll(.expired)))
        let later = try flight.token()
        try flight.answer(.success(.enter(.lead(attempt: 1))))
        try flight.answer(.success(.poll(.superseded(by: later))))
        #expect(flight.actions.contains { if case .startOperation(later) = $0 { true } else { false } })
        flight.handle(.operationEnded(.value([])))
        try flight.answer(.success(.complete(.accepted(waiters: 0))))
        #expect(!flight.actions.contains { if case .finish = $0 { true } else { false } })
        try flight.wake()
        #expect(flight.releases(flight.earlier), "\(flight.actions)")
    }

    /// Leaders that hand over make a process ask again long before its earlier request could have run out: each of the
    /// two may yet be granted.
    @Test("of two requests in doubt are both handed back, by one timer")
    func bothRequests() throws {
        var flight = try Conversation()
        flight.hint()
        try flight.answer(.success(.poll(.expired)))
        let later = try flight.token()
        try flight.answer(.failure(Conversation.cut))
        try flight.wake()
        let second = LeaseToken(using: &flight.random)
        try flight.answer(.success(.enter(.follow(second, remaining: .seconds(3)))))
        try flight.answer(.success(.poll(.superseded(by: second))))
        try flight.answer(.success(.poll(.running(remaining: .seconds(3)))))
        flight.handle(.heard(.announced(Announcement(token: second, news: .outcome(.value([7]))))))
        #expect(!flight.actions.contains { if case .finish = $0 { true } else { false } })

        var released: Set<LeaseToken> = []
        for _ in 0..<20 {
            try flight.wake()
            let requests = flight.actions.compactMap { action -> FlightRequest? in
                if case .send(let request) = action { request } else { nil }
            }
            for request in requests {
                guard case .release(let token, .withdraw) = request else { continue }
                released.insert(token)
                flight.handle(.replied(.success(.release(.notHeld)), to: request))
            }
            if flight.actions.contains(where: { if case .finish = $0 { true } else { false } }) { break }
        }
        #expect(released == [try #require(flight.earlier), later])
        #expect(flight.machine.isFinal)
    }

    /// A request that was sent twice may be granted twice: one release does not end it, however the flight ends.
    @Test("of a request that was repeated and led is handed back until its time is over, also if a release is in doubt")
    func repeatedRequest() throws {
        var flight = try Conversation(isTold: false)
        let repetition = try flight.request()
        flight.handle(.abandoned)
        flight.handle(.replied(.success(.enter(.lead(attempt: 0))), to: repetition))
        try flight.answer(.failure(Conversation.cut))
        for _ in 0..<2 {
            try flight.wake()
            try flight.answer(.success(.release(.released(waiters: 0))))
            #expect(!flight.machine.isFinal, "the first sending may yet be granted")
        }
    }

    /// The first request may also take over from the leader that its process follows: the process would wait for
    /// itself.
    @Test(
        "of an earlier request is taken back at once where the process is told to wait for it, and the flight begins anew"
    )
    func ownLease() throws {
        var flight = try Conversation()
        flight.hint()
        let earlier = try #require(flight.earlier)
        try flight.answer(.success(.poll(.superseded(by: earlier))))
        #expect(flight.releases(earlier), "\(flight.actions)")
        try flight.answer(.success(.poll(.withdrawn)))
        #expect(try flight.token() != earlier)
    }
}

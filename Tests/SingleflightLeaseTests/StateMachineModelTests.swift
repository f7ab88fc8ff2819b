import Testing

@testable import SingleflightLease

/// Random events against the whole machine: whatever comes in whatever order, its promises hold.
@Suite("The flight's state machine under random events", .timeLimit(.minutes(4)))
struct StateMachineModelTests {
    /// What the machine asked for and has not got yet, and what it did.
    private struct Run {
        var machine: FlightMachine
        var random: FlightRandom
        var now = LeaseInstant(sinceOrigin: .zero)
        var outstanding: [FlightRequest] = []
        var wake: LeaseInstant?
        var resolutions = 0
        var finishes = 0
        var starts = 0
        var isOperationRunning = false
        var tokens: [LeaseToken] = []

        mutating func handle(_ event: FlightEvent) -> FlightActions {
            self.machine.handle(event, now: self.now, using: &self.random)
        }

        mutating func take(_ actions: FlightActions, _ event: String, seed: UInt64) {
            for action in actions {
                if self.finishes > 0 {
                    switch action {
                    case .send(.release), .send(.leave), .send(.revoke): break
                    default: Issue.record("seed \(seed): \(action) after finish, on \(event)")
                    }
                }
                switch action {
                case .send(let request):
                    switch request {
                    case .enter(let token, _, _):
                        self.tokens.append(token)
                        self.outstanding.append(request)
                    case .look, .poll, .renew, .complete, .release: self.outstanding.append(request)
                    case .leave, .revoke: break
                    }
                case .startOperation:
                    self.starts += 1
                    self.isOperationRunning = true
                case .moveOperation: break
                case .cancelOperation: self.isOperationRunning = false
                case .wake(let deadline): self.wake = deadline
                case .tell: self.resolutions += 1
                case .finish: self.finishes += 1
                }
            }
            func count(_ isIt: (FlightRequest) -> Bool) -> Int { self.outstanding.count(where: isIt) }
            let polls = count { if case .poll = $0 { true } else { false } }
            // Of the latest lease: an answer about an earlier one may be under way when another was granted.
            let latest = self.tokens.last
            let renewals = count { if case .renew(let token, _, _) = $0 { token == latest } else { false } }
            let completions = count { if case .complete = $0 { true } else { false } }
            let enters = count { if case .enter = $0 { true } else { false } }
            #expect(polls <= 1 && renewals <= 1 && completions <= 1 && enters <= 1, "seed \(seed), on \(event)")
            #expect(self.resolutions <= 1 && self.finishes <= 1 && self.starts <= 1, "seed \(seed), on \(event)")
            #expect(self.machine.isFinal == (self.finishes == 1), "seed \(seed), on \(event)")
            #expect(
                self.machine.isFinal || !self.outstanding.isEmpty || self.wake != nil || self.isOperationRunning,
                "seed \(seed): nothing would ever happen again, on \(event)"
            )
        }
    }

    private static let error = LeaseStoreError(.unavailable, "unreachable", mayHaveExecuted: true)

    private static func canceled(_ random: inout FlightRandom) -> StoredOutcome {
        .canceled([.leaseExpired, .leaderShutDown, .supersededTooOften].randomElement(using: &random) ?? .leaseExpired)
    }

    private func step(_ run: inout Run, seed: UInt64) {
        let other = LeaseToken(using: &run.random)
        let failed = Int.random(in: 0..<4, using: &run.random) == 0
        switch Int.random(in: 0..<20, using: &run.random) {
        case 0..<9 where !run.outstanding.isEmpty:
            let request = run.outstanding.remove(at: Int.random(in: 0..<run.outstanding.count, using: &run.random))
            let outcome = Self.canceled(&run.random)
            let replies: [LeaseReply] =
                switch request {
                case .look:
                    [
                        .inspect(LeaseInspection(lease: nil, waiters: [])),
                        .inspect(.held(under: other, for: .seconds(3))), .inspect(.held(under: other, for: .zero)),
                    ]
                case .enter:
                    [
                        .enter(.lead(attempt: 0)), .enter(.follow(other, remaining: .seconds(3))),
                        .enter(.follow(other, remaining: .zero)), .enter(.reuse(other, .value([]))), .enter(.late),
                    ]
                case .poll:
                    [
                        .poll(.running(remaining: .seconds(3))), .poll(.running(remaining: .zero)), .poll(.expired),
                        .poll(.superseded(by: other)), .poll(.withdrawn), .poll(.gone), .poll(.done(outcome)),
                    ]
                case .renew:
                    [
                        .renew(.renewed(waiters: 0)), .renew(.renewed(waiters: 1)), .renew(.renewed(waiters: 2)),
                        .renew(.lost()), .renew(.expired),
                    ]
                case .complete:
                    [
                        .complete(.accepted(waiters: 1)), .complete(.duplicate), .complete(.stale(current: other)),
                        .complete(.unknown(current: nil)),
                    ]
                case .release:
                    [.release(.released(waiters: 0)), .release(.awaited(waiters: 1)), .release(.notHeld)]
                case .leave, .revoke:
                    []
                }
            let found = replies.randomElement(using: &run.random)
            let reply: Result<LeaseReply, LeaseStoreError> =
                if let found, !failed { .success(found) } else { .failure(Self.error) }
            let actions = run.handle(.replied(reply, to: request))
            run.take(actions, "a reply to \(request)", seed: seed)
        case 9..<13:
            guard let wake = run.wake else { return }
            run.now = max(run.now, wake)
            run.wake = nil
            run.take(run.handle(.timer), "the timer", seed: seed)
        case 13..<15:
            run.now = run.now.advanced(by: .jitter(upTo: .milliseconds(400), using: &run.random))
        case 15, 16:
            let news: [Announcement.News] = [
                .outcome(.value([1])), .outcome(Self.canceled(&run.random)), .hint, .unawaited,
                .progress(FlightProgress(fraction: 0.5)),
            ]
            let announcement = Announcement(
                token: run.tokens.randomElement(using: &run.random) ?? other,
                news: news.randomElement(using: &run.random) ?? .hint
            )
            let actions = run.handle(.heard(.announced(announcement)))
            run.take(actions, "\(announcement)", seed: seed)
        case 17:
            run.take(run.handle(.heard(.resumed)), "resumed", seed: seed)
        case 18 where run.isOperationRunning:
            run.isOperationRunning = false
            run.take(run.handle(.operationEnded(.value([7]))), "the operation's end", seed: seed)
        case 19:
            switch Int.random(in: 0..<8, using: &run.random) {
            case 0: run.take(run.handle(.abandoned), "abandonment", seed: seed)
            case 1:
                run.take(run.handle(.heard(.shuttingDown)), "shutdown", seed: seed)
            case 2 where run.isOperationRunning:
                let reason = Bool.random(using: &run.random) ? "why" : nil
                run.isOperationRunning = false
                run.take(run.handle(.leaderLeft(reason: reason)), "the leader's leaving", seed: seed)
            case 3, 4: run.take(run.handle(.progressed), "progress", seed: seed)
            case 5:
                // It asks for nothing by itself.
                if !run.machine.isFinal { run.take(run.handle(.offered), "an offer", seed: seed) }
            default: break
            }
        default:
            break
        }
    }

    @Test(
        "it resolves at most once, finishes last and once, and never stops without asking for something",
        arguments: [0, 2],
        [false, true]
    )
    func promises(takeovers: Int, leadsAgain: Bool) {
        var terms = FlightTerms(
            lease: LeaseTerms(
                duration: .seconds(3),
                grace: .seconds(2),
                retention: .seconds(4),
                leaderLoss: takeovers == 0 ? .cancel : .takeOver(attempts: takeovers)
            ),
            margin: .milliseconds(150),
            maximumFlight: .seconds(20),
            commandTimeout: .milliseconds(100)
        )
        terms.leadsAgain = leadsAgain
        terms.outlivesLease = leadsAgain && takeovers > 0
        let first = UInt64.random(in: 0..<1 << 32)
        var finished = 0
        for seed in first..<first + 2000 {
            let outcomes = FlightMachine.Outcomes(tooLong: .failure([0]), storeFull: .failure([1]))
            let machine =
                seed % 4 == 0
                ? FlightMachine(following: terms)
                : FlightMachine(terms: terms, outcomes: outcomes, canTakeOver: seed % 3 > 0)
            var run = Run(machine: machine, random: .seeded(seed))
            run.take(run.handle(.start), "start", seed: seed)
            for _ in 0..<120 {
                self.step(&run, seed: seed)
            }
            #expect(run.starts == 0 || seed % 4 > 0, "seed \(seed): an onlooker leads")
            finished += run.finishes
        }
        #expect(finished > 1000, "most flights end: otherwise this test shows little")
    }
}

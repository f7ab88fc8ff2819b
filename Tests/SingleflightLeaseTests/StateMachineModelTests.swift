import Testing

@testable import SingleflightLease

/// Random events against the whole machine: whatever comes in whatever order, its promises hold.
@Suite("The flight's state machine under random events", .timeLimit(.minutes(1)))
struct StateMachineModelTests {
    /// What the machine asked for and has not got yet, and what it did.
    private struct Run {
        var machine: FlightStateMachine
        var random: FlightRandom
        var now = LeaseInstant(sinceOrigin: .zero)
        var outstanding: [FlightAction] = []
        var wake: LeaseInstant?
        var resolutions = 0
        var finishes = 0
        var starts = 0
        var isOperationRunning = false
        var tokens: [LeaseToken] = []

        mutating func take(_ actions: [FlightAction], _ event: String, seed: UInt64) {
            for action in actions {
                if self.finishes > 0 {
                    switch action {
                    case .release, .leave, .revoke: break
                    default: Issue.record("seed \(seed): \(action) after finish, on \(event)")
                    }
                }
                switch action {
                case .enter(let token, _, _):
                    self.tokens.append(token)
                    self.outstanding.append(action)
                case .poll, .settle, .renew, .complete:
                    self.outstanding.append(action)
                case .release: self.outstanding.append(action)
                case .leave, .revoke: break
                case .startOperation:
                    self.starts += 1
                    self.isOperationRunning = true
                case .cancelOperation: self.isOperationRunning = false
                case .wake(let deadline): self.wake = deadline
                case .resolve: self.resolutions += 1
                case .finish: self.finishes += 1
                }
            }
            func count(_ isIt: (FlightAction) -> Bool) -> Int { self.outstanding.count(where: isIt) }
            let polls = count {
                switch $0 {
                case .poll, .settle: true
                default: false
                }
            }
            let renewals = count { if case .renew = $0 { true } else { false } }
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
        func reply<R>(_ all: [R], _ random: inout FlightRandom) -> Result<R, LeaseStoreError> {
            let found = all.randomElement(using: &random)
            return failed ? .failure(Self.error) : found.map { .success($0) } ?? .failure(Self.error)
        }
        switch Int.random(in: 0..<20, using: &run.random) {
        case 0..<9 where !run.outstanding.isEmpty:
            let action = run.outstanding.remove(at: Int.random(in: 0..<run.outstanding.count, using: &run.random))
            let outcome = Self.canceled(&run.random)
            let actions: [FlightAction]
            switch action {
            case .enter(let token, _, _):
                let replies: [EnterReply] = [
                    .lead(attempt: 0), .follow(other, remaining: .seconds(3)), .follow(other, remaining: .zero),
                    .reuse(other, .value([])), .late,
                ]
                let answer = reply(replies, &run.random)
                actions = run.machine.enterReplied(answer, to: token, now: run.now, using: &run.random)
            case .poll, .settle:
                let replies: [PollReply] = [
                    .running(remaining: .seconds(3)), .running(remaining: .zero), .expired, .superseded(by: other),
                    .gone, .done(outcome),
                ]
                actions = run.machine.pollReplied(reply(replies, &run.random), now: run.now, using: &run.random)
            case .renew:
                let replies: [RenewReply] = [
                    .renewed(waiters: 0), .renewed(waiters: 1), .renewed(waiters: 2), .lost(), .expired,
                ]
                actions = run.machine.renewReplied(reply(replies, &run.random), now: run.now, using: &run.random)
            case .complete:
                let replies: [CompleteReply] = [
                    .accepted(waiters: 1), .duplicate, .stale(current: other), .unknown(current: nil),
                ]
                actions = run.machine.completeReplied(reply(replies, &run.random), now: run.now, using: &run.random)
            case .release:
                let replies: [ReleaseReply] = [.released(waiters: 0), .awaited(waiters: 1), .notHeld]
                actions = run.machine.releaseReplied(reply(replies, &run.random), now: run.now, using: &run.random)
            default:
                actions = []
            }
            run.take(actions, "a reply to \(action)", seed: seed)
        case 9..<13:
            guard let wake = run.wake else { return }
            run.now = max(run.now, wake)
            run.wake = nil
            run.take(run.machine.timerFired(now: run.now, using: &run.random), "the timer", seed: seed)
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
            let actions = run.machine.inbox(.announced(announcement), now: run.now, using: &run.random)
            run.take(actions, "\(announcement)", seed: seed)
        case 17:
            run.take(run.machine.inbox(.resumed, now: run.now, using: &run.random), "resumed", seed: seed)
        case 18 where run.isOperationRunning:
            run.isOperationRunning = false
            run.take(run.machine.operationFinished(.value([7]), now: run.now), "the operation's end", seed: seed)
        case 19:
            switch Int.random(in: 0..<8, using: &run.random) {
            case 0: run.take(run.machine.abandoned(), "abandonment", seed: seed)
            case 1:
                run.take(run.machine.inbox(.shuttingDown, now: run.now, using: &run.random), "shutdown", seed: seed)
            case 2 where run.isOperationRunning:
                let reason = Bool.random(using: &run.random) ? "why" : nil
                run.isOperationRunning = false
                run.take(run.machine.leaderLeaves(reason: reason), "the leader's leaving", seed: seed)
            case 3, 4: run.take(run.machine.progressed(), "progress", seed: seed)
            case 5:
                // It asks for nothing by itself.
                if !run.machine.isFinal { run.machine.allowTakeover() }
            default: break
            }
        default:
            break
        }
    }

    @Test(
        "it resolves at most once, finishes last and once, and never stops without asking for something",
        arguments: [0, 2]
    )
    func promises(takeovers: Int) {
        let terms = FlightTerms(
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
        let first = UInt64.random(in: 0..<1 << 32)
        var finished = 0
        for seed in first..<first + 2000 {
            let machine = FlightStateMachine(terms: terms, tooLong: .failure([0]), canTakeOver: seed % 3 > 0)
            var run = Run(machine: machine, random: .seeded(seed))
            run.take(run.machine.start(now: run.now, using: &run.random), "start", seed: seed)
            for _ in 0..<120 {
                self.step(&run, seed: seed)
            }
            finished += run.finishes
        }
        #expect(finished > 1000, "most flights end: otherwise this test shows little")
    }
}

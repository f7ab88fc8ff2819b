import SingleflightLease
import SingleflightTestKit
import Synchronization

@testable import History

/// Random requests of three processes to a store in memory, whose clock moves on between them, as a history.
struct HistoryRun {
    let history: LeaseHistory
    private let clock: ManualLeaseClock
    private let stores: [RecordingLeaseStore]
    private let registrations: [InboxRegistration]
    private let key = FlightKey(checkedGroup: "group", bytes: Array("key".utf8))
    private var tokens: [LeaseToken] = []
    private var random: FlightRandom

    init(seed: UInt64) {
        let clock = ManualLeaseClock()
        let history = LeaseHistory(now: { clock.now.sinceOrigin.historyNanoseconds })
        let server = InMemoryLeaseServer(clock: clock)
        let stores = (0..<3).map {
            RecordingLeaseStore(InMemoryLeaseStore(server: server, label: "\($0)"), in: history)
        }
        self.clock = clock
        self.history = history
        self.stores = stores
        self.random = .seeded(seed)
        let key = self.key
        self.registrations = stores.map { store in
            let registration = store.listen(for: key) { _ in }
            registration.stopWaiting()
            return registration
        }
    }

    mutating func play(steps: Int) {
        for _ in 0..<steps {
            self.clock.advance(by: .milliseconds(self.pick(4) == 0 ? self.pick(250) : self.pick(20)))
            self.step(self.stores[self.pick(self.stores.count)])
        }
        for registration in self.registrations { registration.cancel() }
    }

    /// The same history as somebody would have it who sees less: answers come late or never, requests overlap.
    mutating func blurred() -> LeaseHistory {
        let blurred = LeaseHistory()
        for line in self.history.records {
            var begin = HistoryLine(
                at: line.invoked - Int64(self.pick(30)) * 1_000_000,
                process: line.process,
                sequence: line.sequence,
                key: line.key,
                request: line.request,
                reply: nil
            )
            var end = begin
            end.request = nil
            end.at = (line.returned ?? line.invoked) + Int64(self.pick(30)) * 1_000_000
            end.reply = self.pick(10) == 0 ? .failed("lost", mayHaveExecuted: true) : line.reply
            if case .heard = line.request {
                end.reply = line.reply
                begin.at = line.invoked
            }
            for line in [begin, end] { blurred.append(line) }
        }
        return blurred
    }

    private mutating func step(_ store: RecordingLeaseStore) {
        let policy: LeaderLossPolicy = self.pick(2) == 0 ? .cancel : .takeOver(attempts: 2)
        let terms = LeaseTerms(
            duration: .milliseconds(200),
            grace: .milliseconds(200),
            retention: .milliseconds(300),
            leaderLoss: policy,
            acceptsReuse: self.pick(3) == 0
        )
        let note = LeaseNote(label: store.label)
        switch self.pick(12) {
        case 0, 1, 2, 3:
            let repeats = self.pick(6) == 0
            let token = repeats ? self.token() : self.newToken()
            store.send(
                EnterRequest(
                    key: self.key,
                    token: token,
                    terms: terms,
                    note: note,
                    validity: .seconds(1),
                    isRepetition: repeats
                ),
                reply: { _ in }
            )
        case 4:
            store.send(
                RenewRequest(
                    key: self.key,
                    token: self.token(),
                    terms: terms,
                    note: note,
                    isAbandoned: self.pick(2) == 0
                ),
                reply: { _ in }
            )
        case 5, 6:
            let outcome: StoredOutcome =
                self.pick(3) == 0 ? .failure([0]) : .value([UInt8(self.pick(200)), 255])
            store.send(
                CompleteRequest(
                    key: self.key,
                    token: self.token(),
                    outcome: outcome,
                    reuse: self.pick(2) == 0 ? .milliseconds(400) : .zero
                ),
                reply: { _ in }
            )
        case 7:
            let modes: [ReleaseRequest.Mode] = [.unlessAwaited, .shutDown, .giveUp, .handOver, .withdraw]
            store.send(
                ReleaseRequest(
                    key: self.key,
                    token: self.token(),
                    mode: modes[self.pick(modes.count)]
                ),
                reply: { _ in }
            )
        case 8, 9:
            store.send(
                PollRequest(
                    key: self.key,
                    token: self.token()
                ),
                reply: { _ in }
            )
        case 10:
            if self.pick(2) == 0 {
                store.send(LeaveRequest(key: self.key, token: self.token()), reply: { _ in })
            } else {
                store.send(FenceRequest(key: self.key, token: self.token()), reply: { _ in })
            }
        default:
            let token = self.pick(2) == 0 ? nil : self.token()
            store.send(
                RevokeRequest(
                    key: self.key,
                    token: token,
                    by: "test",
                    reason: "so\nthere"
                ),
                reply: { _ in }
            )
        }
    }

    private mutating func newToken() -> LeaseToken {
        let token = LeaseToken(using: &self.random)
        self.tokens.append(token)
        return token
    }

    /// One of the latest.
    private mutating func token() -> LeaseToken {
        guard !self.tokens.isEmpty else { return self.newToken() }
        return self.tokens[max(0, self.tokens.count - 1 - self.pick(3))]
    }

    private mutating func pick(_ count: Int) -> Int {
        Int.random(in: 0..<count, using: &self.random)
    }
}

import SingleflightLease
import SingleflightSimulation
import SingleflightTestKit
import Testing

/// What simulations found; each test says what broke.
@Suite("Regressions found by simulation")
struct RegressionTests {
    /// A request that had been repeated was given up; the release of what one sending had been granted was taken for
    /// the end of it, and another sending, carried out after that, was granted a lease under which nobody worked.
    @Test("what any sending of a repeated request may be granted is handed back", arguments: [130_699, 631_812])
    func repeatedRequestGivenUp(_ seed: UInt64) {
        #expect(Simulation.run(seed: seed).failure == nil)
    }

    /// A process asked how a flight had ended that somebody had taken over meanwhile, and was registered for the later
    /// one. Its last caller left just then, and it left the earlier flight only: the new leader worked for nobody.
    @Test("a process that leaves while it asks about an earlier flight leaves the later one, too")
    func leavesTheLaterFlight() {
        #expect(Simulation.run(seed: 10_253).failure == nil)
    }

    /// The answer to the first request was lost, somebody revoked the flight, and the repetition was granted the same
    /// token anew: its leader was then told that its result is stale although it had been accepted, and followers that
    /// it was canceled.
    @Test("a repeated request to lead learns that its flight has been revoked, and does not lead again")
    func repetitionAfterRevocation() throws {
        var model = LeaseModel()
        var generator = SystemRandomNumberGenerator()
        let inbox = InboxID(using: &generator)
        let now = LeaseInstant(sinceOrigin: .seconds(1))
        var request = EnterRequest(
            key: try FlightKey(group: "test", bytes: [1]),
            token: LeaseToken(using: &generator),
            terms: LeaseTerms(
                duration: .seconds(10),
                grace: .seconds(10),
                retention: .seconds(10),
                leaderLoss: .cancel
            ),
            note: LeaseNote(label: "test"),
            validity: .seconds(1)
        )
        #expect(model.enter(request, inbox: inbox, now: now) == .lead(attempt: 0))
        let revocation = RevokeRequest(key: request.key, token: nil, by: "me", reason: "test")
        _ = model.revoke(revocation, now: now)

        request.isRepetition = true
        let answer = model.enter(request, inbox: inbox, now: now)
        #expect(answer == .reuse(request.token, .canceled(.revoked(by: "me", reason: "test"))))
        #expect(model.inspect(request.key, now: now).lease == nil)
    }

    /// Without the mark the store in Redis would ask for the lease natively, and never look.
    @Test("a flight marks its request to lead as repeated when it sends it again")
    func marksRepetitions() throws {
        let scheduler = SimulatedScheduler(seed: 1)
        let store = SimulatedLeaseStore(
            server: SimulatedServer(scheduler: scheduler),
            machine: SimulatedMachine(scheduler: scheduler),
            label: "test"
        )
        let spy = EnterSpy(store: store)
        let terms = FlightTerms(
            lease: LeaseTerms(
                duration: .seconds(10),
                grace: .seconds(10),
                retention: .seconds(10),
                leaderLoss: .cancel
            ),
            margin: .milliseconds(500),
            maximumFlight: .seconds(60),
            commandTimeout: .milliseconds(200)
        )
        let coder = PayloadCoder(
            codec: ErasedCodec(BytesCodec()),
            typedFailures: nil,
            maximumResultBytes: 100,
            label: "test"
        )
        let group = GroupCore(
            FlightContext(
                group: "test",
                store: spy,
                terms: terms,
                coder: coder,
                runtime: .inline(random: { .seeded(1) })
            )
        )
        let key = try FlightKey(group: "test", bytes: [1])
        guard case .joined(let driver, _, isStarter: true) = group.join(key, isByHand: true, observer: nil) else {
            Issue.record("nobody else is there to lead")
            return
        }
        store.network.replyLoss = 1
        driver.begin(nil)
        while spy.marks.count < 2, scheduler.step() {}
        #expect(spy.marks == [false, true])
    }
}

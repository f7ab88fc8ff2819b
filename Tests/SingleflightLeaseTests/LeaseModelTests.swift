import SingleflightLease
import SingleflightTestKit
import Testing

@Suite("The model of a lease store")
struct LeaseModelTests {
    @Test("registers so many waiters and no more; those beyond it learn of the outcome by polling")
    func maximumWaiters() throws {
        var random = FlightRandom.seeded(1)
        var model = LeaseModel()
        let key = try FlightKey(group: "group", bytes: [])
        let now = LeaseInstant(sinceOrigin: .zero)
        let token = LeaseToken(using: &random)
        let terms = LeaseTerms(duration: .seconds(3), grace: .seconds(2), retention: .seconds(4), leaderLoss: .cancel)
        func enter(_ token: LeaseToken) -> EnterReply {
            let note = LeaseNote(label: "test")
            let request = EnterRequest(key: key, token: token, terms: terms, note: note, validity: .seconds(1))
            return model.enter(request, inbox: InboxID(using: &random), now: now)
        }
        #expect(enter(token) == .lead(attempt: 0))
        for _ in 0...LeaseModel.maximumWaiters {
            #expect(enter(LeaseToken(using: &random)) == .follow(token, remaining: .seconds(3)))
        }
        let waiters = model.inspect(key, now: now).waiters.count
        #expect(waiters == LeaseModel.maximumWaiters)
        let complete = CompleteRequest(key: key, token: token, outcome: .value([1]))
        #expect(model.complete(complete, now: now) == .accepted(waiters: waiters))
        #expect(model.takeDeliveries().count == waiters)
        let poll = PollRequest(key: key, token: token)
        #expect(model.poll(poll, inbox: InboxID(using: &random), now: now) == .done(.value([1])))
    }
}

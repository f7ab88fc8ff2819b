import Singleflight
import Testing

@Suite("Handles")
struct HandleTests {
    @Test("a subscriber gets what the leader completes with")
    func subscriberGetsResult() async throws {
        let group = Group<String, Int>()
        guard case .leader(let leader) = group.entry("key") else { throw Unexpected() }
        guard case .subscriber(let subscriber) = group.entry("key") else { throw Unexpected() }
        #expect(leader.complete(.success(7)))
        guard case .complete(let completion) = await subscriber.outcome() else { throw Unexpected() }
        #expect(try completion.result.get() == 7)
        #expect(completion.isShared)
        #expect(completion.role == .subscriber)
        #expect(group.inFlight == 0)
    }
}

struct Unexpected: Error {}

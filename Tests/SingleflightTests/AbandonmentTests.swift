import TestSupport
import Testing

@testable import Singleflight

@Suite("Abandoned handles")
struct AbandonmentTests {
    let group = Group<String, Int>()

    @Test("the last subscriber's leaving frees the key, then calls the handler once")
    func lastSubscriberLeaves() throws {
        let group = self.group
        let leader = try group.leader("key")
        let calls = Counter()
        let subscribers = [leader.subscribe(), try group.subscriber("key")]
        leader.onAbandoned { _ in
            // Takes the lock: the handler runs outside of it, and finds the key free.
            if group.inFlight == 0 { calls.increment() }
        }
        subscribers[0].leave()
        #expect(calls.value == 0)
        #expect(group.keysInFlight == ["key"])
        subscribers[1].leave()
        #expect(calls.value == 1)
        subscribers[1].leave()
        #expect(calls.value == 1)
    }

    @Test("a caller after the abandonment leads a fresh flight, which the old leader cannot complete")
    func laterCallerStartsAfresh() async throws {
        let old = try self.group.leader("key")
        let lonely = old.subscribe()
        old.onAbandoned { _ in }
        lonely.leave()
        let new = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        #expect(!old.complete(.success(1)))
        #expect(new.complete(.success(2)))
        #expect(await subscriber.seen() == .value(2, shared: true, .subscriber))
    }

    @Test("a handler that comes after everybody has left is called at once")
    func handlerComesLate() throws {
        let leader = try self.group.leader("key")
        leader.subscribe().leave()
        #expect(self.group.inFlight == 1)
        let calls = Counter()
        leader.onAbandoned { _ in calls.increment() }
        #expect(calls.value == 1)
        #expect(self.group.inFlight == 0)
    }

    @Test("a flight that nobody has subscribed to yet is not abandoned")
    func nobodyYet() throws {
        let leader = try self.group.leader("key")
        let calls = Counter()
        leader.onAbandoned { _ in calls.increment() }
        #expect(calls.value == 0)
        #expect(self.group.inFlight == 1)
        withExtendedLifetime(leader) {}
    }

    @Test("without a handler a deserted flight goes on and can be joined again")
    func withoutHandler() async throws {
        let leader = try self.group.leader("key")
        try self.group.subscriber("key").leave()
        let subscriber = try self.group.subscriber("key")
        #expect(leader.complete(.success(7)))
        #expect(await subscriber.seen() == .value(7, shared: true, .subscriber))
    }

    @Test("a flight that has completed is not abandoned by subscribers that leave without their outcome")
    func completedIsNotAbandoned() throws {
        let leader = try self.group.leader("key")
        let calls = Counter()
        let subscriber = leader.subscribe()
        leader.onAbandoned { _ in calls.increment() }
        leader.complete(.success(7))
        subscriber.leave()
        #expect(calls.value == 0)
    }

    @Test("subscribing through the leader after the abandonment says so")
    func subscribeAfterwards() async throws {
        let leader = try self.group.leader("key")
        leader.onAbandoned { _ in }
        leader.subscribe().leave()
        #expect(await leader.subscribe().seen() == .abandoned)
    }

    @Test("a handler is given its leader, and does not keep it: one that everybody has forgotten keeps nobody waiting")
    func handlerKeepsNothing() async throws {
        weak var weakLeader: Leader<String, Int>?
        let calls = Counter()
        let subscriber: Subscriber<String, Int>
        do {
            let leader = try self.group.leader("key")
            weakLeader = leader
            subscriber = leader.subscribe()
            leader.onAbandoned { _ in calls.increment() }
        }
        #expect(weakLeader == nil)
        #expect(await subscriber.seen() == .leaderLeft)
        #expect(calls.value == 0)
        #expect(self.group.usedSlots == 0)
    }
}

import Synchronization
import TestSupport
import Testing

@testable import Singleflight

@Suite("Handles")
struct HandleTests {
    let group = Group<String, Int>()

    @Test("a subscriber gets what the leader completes with")
    func subscriberGetsResult() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        #expect(leader.complete(.success(7)))
        #expect(await subscriber.seen() == .value(7, shared: true, .subscriber))
    }

    @Test("a subscriber that waits already is resumed by the completion")
    func suspendedSubscriberIsResumed() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        let waiting = Task.atOnce { await subscriber.seen() }
        #expect(self.group.suspendedCallers == 1)
        leader.complete(.failure(OperationError()))
        #expect(await waiting.value == .failed(OperationError(), shared: true, .subscriber))
    }

    @Test("a leader that subscribes to its own flight alone does not share it")
    func leaderSubscribes() async throws {
        let leader = try self.group.leader("key")
        let subscriber = leader.subscribe()
        leader.complete(.success(7))
        #expect(await subscriber.seen() == .value(7, shared: false, .leader))
    }

    @Test("a leader's subscription that was left is not counted as a caller")
    func leaderThatLeftIsNotCounted() async throws {
        let leader = try self.group.leader("key")
        leader.subscribe().leave()
        let subscriber = try self.group.subscriber("key")
        leader.complete(.success(7))
        #expect(await subscriber.seen() == .value(7, shared: false, .subscriber))
    }

    @Test("completing twice is a no-op that returns false")
    func completeTwice() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        #expect(leader.complete(.success(1)))
        #expect(!leader.complete(.success(2)))
        #expect(!leader.cancel())
        #expect(await subscriber.seen() == .value(1, shared: true, .subscriber))
    }

    @Test("the next caller after a completion leads a fresh flight, while the old leader's handle lives")
    func nextCallerStartsAfresh() async throws {
        let first = try self.group.leader("key")
        first.complete(.success(1))
        let second = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        #expect(!first.complete(.success(3)))
        second.complete(.success(2))
        #expect(await subscriber.seen() == .value(2, shared: true, .subscriber))
    }

    @Test("subscribing through the leader after the end gives the same outcome")
    func subscribeAfterEnd() async throws {
        let leader = try self.group.leader("key")
        leader.complete(.success(7))
        #expect(await leader.subscribe().seen() == .value(7, shared: false, .leader))
    }

    @Test("a leader that goes away without completing cancels its subscribers and frees the key")
    func leaderGoesAway() async throws {
        var leader: Group<String, Int>.Leader? = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        let waiting = Task.atOnce { await subscriber.seen() }
        #expect(leader?.subscriberCount == 1)
        leader = nil
        #expect(await waiting.value == .leaderLeft)
        #expect(self.group.inFlight == 0)
        #expect(throws: Never.self) { try self.group.leader("key") }
    }

    @Test(
        "a leader's work completes the flight with what it returns or throws; after the flight's end it is told of that"
    )
    func performs() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        #expect(Seen(await leader.perform { 7 }) == .value(7, shared: true, .leader))
        #expect(await subscriber.seen() == .value(7, shared: true, .subscriber))
        let failing = try self.group.leader("key")
        #expect(
            Seen(await failing.perform { throw OperationError() }) == .failed(OperationError(), shared: false, .leader)
        )
        let late = try self.group.leader("key")
        late.cancel()
        #expect(Seen(await late.perform { 8 }) == .leaderLeft)
    }

    @Test("a leader can cancel its flight for a reason of its own")
    func leaderCancels() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        #expect(leader.cancel(.custom(OperationError())))
        #expect(self.group.inFlight == 0)
        #expect(await subscriber.seen() == Seen(.canceled(.custom(OperationError()))))
    }

    @Test("an outcome can be taken once")
    func outcomeOnce() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        leader.complete(.success(7))
        _ = await subscriber.outcome()
        #expect(await subscriber.seen() == .left)
    }

    @Test("a second concurrent call for the outcome fails, and cancelling it does not disturb the first")
    func concurrentOutcome() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        let first = Task.atOnce { await subscriber.seen() }
        let second = Task.atOnce { await subscriber.seen() }
        second.cancel()
        #expect(await second.value == .left)
        leader.complete(.success(7))
        #expect(await first.value == .value(7, shared: true, .subscriber))
    }

    @Test("leave() ends a suspended wait")
    func leaveWhileSuspended() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        let waiting = Task.atOnce { await subscriber.seen() }
        subscriber.leave()
        #expect(await waiting.value == .left)
        #expect(leader.subscriberCount == 0)
    }

    @Test("leave() before the wait makes it return at once")
    func leaveBeforeWait() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        subscriber.leave()
        #expect(await subscriber.seen() == .left)
        #expect(leader.subscriberCount == 0)
    }

    @Test("a subscriber that goes away has left")
    func subscriberGoesAway() async throws {
        let leader = try self.group.leader("key")
        var subscriber: Group<String, Int>.Subscriber? = try self.group.subscriber("key")
        #expect(leader.subscriberCount == 1)
        _ = subscriber
        subscriber = nil
        #expect(leader.subscriberCount == 0)
    }

    @Test("a subscriber whose task is canceled leaves at once")
    func canceledSubscriber() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        let waiting = Task.atOnce { await subscriber.seen() }
        waiting.cancel()
        #expect(await waiting.value == .callerCanceled)
        #expect(leader.subscriberCount == 0)
    }

    @Test("a subscriber that is canceled before it waits leaves at once")
    func canceledBeforeWait() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        let gate = Gate()
        let waiting = Task.atOnce {
            await gate.wait()
            return await subscriber.seen()
        }
        waiting.cancel()
        gate.open()
        #expect(await waiting.value == .callerCanceled)
        #expect(leader.subscriberCount == 0)
    }

    @Test("an outcome that is there already reaches even a canceled subscriber")
    func outcomeBeatsCancellation() async throws {
        let leader = try self.group.leader("key")
        let subscriber = try self.group.subscriber("key")
        leader.complete(.success(7))
        let gate = Gate()
        let waiting = Task.atOnce {
            await gate.wait()
            return await subscriber.seen()
        }
        waiting.cancel()
        gate.open()
        #expect(await waiting.value == .value(7, shared: true, .subscriber))
    }

    @Test("a flight whose handles are all gone gives its slot back")
    func slotsAreRecycled() async throws {
        do {
            let leader = try self.group.leader("key")
            let subscriber = try self.group.subscriber("key")
            let late = leader.subscribe()
            leader.complete(.success(7))
            _ = await subscriber.outcome()
            #expect(self.group.usedSlots == 1)
            withExtendedLifetime((leader, late)) {}
        }
        #expect(self.group.usedSlots == 0)
    }

    @Test("a flight's end lets go of the value outside of the lock, so its deinitializer may use the group")
    func deinitializersRunUnlocked() async throws {
        final class Probe: Sendable {
            let group: Group<String, Probe>
            let count: Counter
            init(_ group: Group<String, Probe>, _ count: Counter) {
                self.group = group
                self.count = count
            }
            deinit {
                if self.group.inFlight == 0 { self.count.increment() }
            }
        }
        // One shard: the deinitializer takes the very lock under which the flight ended.
        let group = Group<String, Probe>(.init(), shardCount: 1)
        let count = Counter()
        do {
            let leader = try group.leader("key")
            let subscriber = try group.subscriber("key")
            leader.complete(.success(Probe(group, count)))
            subscriber.leave()
            #expect(count.value == 0)
        }
        #expect(count.value == 1)
    }
}

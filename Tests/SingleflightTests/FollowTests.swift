import TestSupport
import Testing

@testable import Singleflight

@Suite("Following without ever leading")
struct FollowTests {
    let group = Group<String, Int>()

    /// A call that follows, and has begun to wait if there is a flight.
    private func follower() -> Task<Seen, Never> {
        let group = self.group
        return Task.atOnce { Seen(await group.follow("key")) }
    }

    @Test("where no flight runs, a follower is told so at once and starts none")
    func noFlight() async {
        #expect(await self.follower().value == .noFlight)
        _ = await self.group.seen("key") { 7 }
        #expect(await self.follower().value == .noFlight, "nothing is remembered")
        #expect(self.group.usedSlots == 0)
    }

    @Test("a follower gets the result of the flight that runs")
    func follows() async {
        let group = self.group
        let gate = Gate()
        let leader = Task.atOnce {
            await group.seen("key") {
                await gate.wait()
                return 7
            }
        }
        let follower = self.follower()
        gate.open()
        #expect(await follower.value == .value(7, shared: true, .subscriber))
        #expect(await leader.value == .value(7, shared: true, .leader))
        #expect(group.usedSlots == 0)
    }

    @Test("a follower follows a leader that works by hand, and hears why that gave up")
    func followsByHand() async throws {
        let leader = try self.group.leader("key")
        let follower = self.follower()
        leader.cancel(.custom(OperationError()))
        #expect(await follower.value == Seen(.canceled(.custom(OperationError()))))
    }

    @Test("the work goes on for a follower whose flight everybody else has left, and ends when it leaves, too")
    func counts() async {
        let group = self.group
        let (gate, canceled) = (Gate(), Gate())
        let leader = Task.atOnce {
            await group.seen("key") {
                await withTaskCancellationHandler {
                    await gate.wait()
                } onCancel: {
                    canceled.open()
                }
                return 7
            }
        }
        let follower = self.follower()
        leader.cancel()
        #expect(await leader.value == .callerCanceled)
        #expect(group.inFlight == 1)
        follower.cancel()
        #expect(await follower.value == .callerCanceled)
        await canceled.wait()
        #expect(group.inFlight == 0)
        gate.open()
    }

    @Test("a follower inside of the flight, and one too many, are refused")
    func refused() async throws {
        let group = Group<String, Int>(.init(maximumWaitersPerKey: 1))
        let leader = try group.leader("key")
        #expect(await leader.onBehalf { Seen(await group.follow("key")) }.isRefusal)
        let first = Task.atOnce { Seen(await group.follow("key")) }
        #expect(Seen(await group.follow("key")).isRefusal)
        leader.complete(.success(7))
        #expect(await first.value == .value(7, shared: true, .subscriber))
    }

    @Test("a canceled caller follows nothing")
    func canceled() async throws {
        let leader = try self.group.leader("key")
        let group = self.group
        let gate = Gate()
        let follower = Task {
            await gate.wait()
            return Seen(await group.follow("key"))
        }
        follower.cancel()
        gate.open()
        #expect(await follower.value == .callerCanceled)
        #expect(leader.subscriberCount == 0)
    }
}

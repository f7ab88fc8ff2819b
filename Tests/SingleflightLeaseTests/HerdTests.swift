import SingleflightTestKit
import Testing

@testable import SingleflightLease

@Suite("Herds and bad input", .timeLimit(.minutes(4)))
struct HerdTests {
    @Test("of a herd of 50 processes on a dead leader's key one takes over, and all have its value")
    func oneTakeover() async throws {
        let cluster = try Cluster()
        let configuration = DistributedGroupConfiguration.test { $0.lease.leaderLoss = .takeOver(attempts: 3) }
        let dead = try cluster.process("dead", configuration)
        let (lost, work) = (Work(), Work())
        let leader = dead.call(lost)
        await lost.untilStarted()
        let herd = try (0..<50).map { try cluster.process("process \($0)", configuration) }
        let calls = herd.map { $0.call(work) }
        await cluster.untilFollowed(by: 50)
        dead.cutOff()
        cluster.clock.advance(by: .milliseconds(3400))
        await work.untilStarted()
        work.finish(.success("taken over"))
        var leaders = 0
        for call in calls {
            let completion = try await call.value.completion()
            #expect(try completion.result.get() == "taken over")
            #expect(completion.attempts == 2)
            leaders += completion.role == .leader ? 1 : 0
        }
        #expect(leaders == 1)
        #expect(work.starts == 1)
        _ = await leader.value
    }

    @Test("a leader that took over and hangs says with how many leaders the flight failed")
    func attemptsOfHungTakeover() async throws {
        // It said 1, whatever the number of takeovers.
        let cluster = try Cluster()
        let configuration = DistributedGroupConfiguration.test {
            $0.lease.leaderLoss = .takeOver(attempts: 3)
            $0.limits.flight = .seconds(10)
        }
        let (a, b) = (try cluster.process("a", configuration), try cluster.process("b", configuration))
        let (lost, work) = (Work(), Work())
        let first = a.call(lost)
        await lost.untilStarted()
        let second = b.call(work)
        await cluster.untilFollowed(by: 1)
        a.cutOff()
        cluster.clock.advance(by: .milliseconds(3400))
        await work.untilStarted()
        cluster.clock.advance(by: .seconds(10))
        let completion = try await second.value.completion()
        let error = #expect(throws: DistributedGroupError.self) { try completion.result.get() }
        #expect(error?.code == .flightTooLong)
        #expect(completion.attempts == 2)
        _ = await first.value
    }

    @Test("a payload of another version of the format is refused, not misread")
    func otherVersion() {
        let coder = PayloadCoder(
            codec: JSONCodec<String>(),
            typedFailures: nil,
            maximumResultBytes: 100,
            label: "here"
        )
        guard case .value(var bytes) = coder.encode(.success("value")).outcome else {
            Issue.record("no value")
            return
        }
        bytes[2] += 100
        let result = coder.decode(value: bytes).result
        let error = #expect(throws: DistributedGroupError.self) { try result.get() }
        #expect(error?.code == .decodingFailed)
        #expect(error?.message.contains("version") == true, "\(String(describing: error))")
    }

    @Test("a key of any length is a key", arguments: [0, 1, 1_000_000])
    func keyLength(_ length: Int) async throws {
        let cluster = try Cluster()
        let a = try cluster.process("a")
        let key = String(repeating: "k", count: length)
        #expect(try await a.group.value(key) { _ in "value" } == "value")
        await cluster.expectNothingLeft(a)
    }

    @Test("the wait for a result is counted from the call, for everybody who waits")
    func waited() async throws {
        let cluster = try Cluster()
        let (a, b) = (try cluster.process("a"), try cluster.process("b"))
        let work = Work()
        let leader = a.call(work)
        await work.untilStarted()
        cluster.clock.advance(by: .milliseconds(300))
        let follower = b.call(work)
        await cluster.untilFollowed(by: 1)
        cluster.clock.advance(by: .milliseconds(400))
        work.finish()
        #expect(try await leader.value.completion().waited == .milliseconds(700))
        #expect(try await follower.value.completion().waited == .milliseconds(400))
        await cluster.expectNothingLeft(a, b)
    }
}

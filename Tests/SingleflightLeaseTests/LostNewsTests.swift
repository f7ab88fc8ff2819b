import SingleflightTestKit
import Testing

@testable import SingleflightLease

@Suite("Announcements that are lost", .timeLimit(.minutes(4)))
struct LostNewsTests {
    /// Before outcomes were kept for longer than a lease, by default, too, a follower of a flight that ended at once
    /// asked when its outcome was gone.
    @Test(
        "cost time and no result, however short the flight, and for however short a time outcomes are to be kept",
        arguments: [DistributedGroupConfiguration(), .test { $0.results.retention = .milliseconds(100) }]
    )
    func everyAnnouncement(_ configuration: DistributedGroupConfiguration) async throws {
        let cluster = try Cluster()
        let (a, b) = (try cluster.process("a", configuration), try cluster.process("b", configuration))
        let work = Work()
        let leader = a.call(work)
        await work.untilStarted()
        let follower = b.call(work)
        await cluster.untilFollowed(by: 1)
        cluster.server.dropsAnnouncements = true
        work.finish()
        #expect(try await leader.value.completion().result.get() == "value")
        // A lease later it asks, within half a second.
        cluster.clock.advance(by: configuration.lease.duration + .milliseconds(600))
        #expect(try await follower.value.completion().result.get() == "value")
        #expect(work.starts == 1)
        await cluster.expectNothingLeft(a, b)
    }
}

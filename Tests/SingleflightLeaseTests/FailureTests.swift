import SingleflightLease
import SingleflightTestKit
import Testing

/// An error of an operation is the same for every caller, on whichever host it ran: code that catches it must not
/// depend on that.
@Suite("Errors of operations", .timeLimit(.minutes(4)))
struct FailureTests {
    let cluster: Cluster
    let work = Work()
    let other = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    /// Knows the reason "known" only, and reads another one than was written.
    private static let changing = TypedFailures(
        encode: { error in (error as? Failure)?.reason == "known" ? [1] : nil },
        decode: { _ in Failure(reason: "as read") }
    )

    /// Writes what it cannot read.
    private static let unreadable = TypedFailures(encode: { _ in [1] }, decode: { _ in nil })

    /// What the error of an operation becomes for its own caller and for a follower.
    private func errors(
        of failure: Failure,
        _ typedFailures: TypedFailures?
    ) async throws -> (local: any Error, remote: any Error) {
        let configuration = DistributedGroupConfiguration.test { $0.results.typedFailures = typedFailures }
        let (a, b) = (try self.cluster.process("a", configuration), try self.cluster.process("b", configuration))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        self.work.finish(.failure(failure))
        let (local, remote) = (try await leader.value.completion().result, try await follower.value.completion().result)
        await self.cluster.expectNothingLeft(a, b)
        return (
            try #require(#expect(throws: (any Error).self) { try local.get() }),
            try #require(#expect(throws: (any Error).self) { try remote.get() })
        )
    }

    @Test("callers in the leader's process get what the others read, also where that differs from what was thrown")
    func asRead() async throws {
        let (local, remote) = try await self.errors(of: Failure(reason: "known"), Self.changing)
        #expect(local as? Failure == Failure(reason: "as read"))
        #expect(remote as? Failure == Failure(reason: "as read"))
    }

    @Test("an error that the group's rule does not know, or cannot read, is a remote failure for everybody")
    func unknown() async throws {
        for (reason, rule) in [("unknown", Self.changing), ("known", Self.unreadable)] {
            let (local, remote) = try await FailureTests().errors(of: Failure(reason: reason), rule)
            let own = try #require(local as? RemoteFailure)
            #expect(own == remote as? RemoteFailure)
            #expect(own.leader == "a")
            #expect(own.original as? Failure == Failure(reason: reason))
        }
    }

    @Test("an error is what it is with a lease where the store cannot be asked", arguments: [false, true])
    func withoutLease(isTyped: Bool) async throws {
        let typedFailures: TypedFailures? = isTyped ? .codable(Failure.self) : nil
        let a = try self.cluster.process("a", .test { $0.results.typedFailures = typedFailures })
        a.store.onRequest { $0 == .enter ? .requestLost(LeaseStoreError(.protocolViolation, "no lease store")) : .none }
        self.work.finish(.failure(Failure(reason: "alone")))
        let completion = try await a.call(self.work).value.completion()
        #expect(completion.coordination == .degraded)
        if isTyped {
            #expect(throws: Failure(reason: "alone")) { try completion.result.get() }
        } else {
            let failure = #expect(throws: RemoteFailure.self) { try completion.result.get() }
            #expect(failure?.token == nil)
            #expect(failure?.leader == "a")
            #expect(failure?.original as? Failure == Failure(reason: "alone"))
        }
        await self.cluster.expectNothingLeft(a)
    }
}

import SingleflightLease
import SingleflightTestKit
import TestSupport
import Testing

@Suite("Configurations and names", .timeLimit(.minutes(4)))
struct ConfigurationTests {
    static let faults: [(String, @Sendable (inout DistributedGroupConfiguration) -> Void)] = [
        ("lease.duration", { $0.lease.duration = .milliseconds(99) }),
        ("three times", { $0.lease.duration = .milliseconds(299) }),
        ("lease.duration", { $0.lease.duration = .seconds(24 * 3600 + 1) }),
        ("lease.grace", { $0.lease.grace = .zero }),
        ("results.retention", { $0.results.retention = .seconds(-1) }),
        ("limits.flight", { $0.limits.flight = .zero }),
        ("results.maximumBytes", { $0.results.maximumBytes = 0 }),
        ("results.reuse is", { $0.results.reuse = .seconds(-1) }),
        ("results.reuseFailures", { $0.results.reuseFailures = .seconds(-1) }),
        ("lease.leaderLoss", { $0.lease.leaderLoss = .takeOver(attempts: 0) }),
        ("lease.leaderLoss", { $0.lease.leaderLoss = .takeOver(attempts: 1000) }),
        ("limits.waitersPerKey", { $0.limits.waitersPerKey = 0 }),
        ("limits.progressInterval", { $0.limits.progressInterval = .milliseconds(99) }),
    ]

    @Test(
        "a configuration that cannot work is refused with an error that names what is wrong",
        arguments: faults.indices
    )
    func faultyConfiguration(_ index: Int) throws {
        let (name, change) = Self.faults[index]
        let store = InMemoryLeaseStore(server: InMemoryLeaseServer())
        let error = #expect(throws: DistributedGroupError.self) {
            try DistributedGroup<String, String>("group", store: store, configuration: .test(change))
        }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.message.contains(name) == true, "\(String(describing: error))")
    }

    @Test(
        "a name that cannot be part of a key is refused",
        arguments: ["", "a b", "a:b", "{a}", "ä", String(repeating: "a", count: 65)]
    )
    func faultyName(_ name: String) throws {
        let store = InMemoryLeaseStore(server: InMemoryLeaseServer())
        let error = #expect(throws: DistributedGroupError.self) {
            try DistributedGroup<String, String>(name, store: store)
        }
        #expect(error?.code == .invalidConfiguration)
        #expect(
            #expect(throws: LeaseStoreError.self) { try FlightKey(group: name, bytes: []) }?.code == .invalidRequest
        )
    }

    // A group of such a name would have shared its flights with what another group learns by observing.
    @Test("a name that observing groups keep their flights under is refused", arguments: CoalescingMode.both)
    func reservedName(_ mode: CoalescingMode) throws {
        let store = InMemoryLeaseStore(server: InMemoryLeaseServer())
        let error = #expect(throws: DistributedGroupError.self) {
            let configuration = DistributedGroupConfiguration.test { $0.mode = mode }
            _ = try DistributedGroup<String, String>("profiles.observe", store: store, configuration: configuration)
        }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.message.contains(".observe") == true)
        _ = try DistributedGroup<String, String>("observe", store: store, configuration: .test { $0.mode = mode })
    }

    struct LongName: FlightCodec {
        var identifier: String { String(repeating: "x", count: 256) }
        func encode(_ value: String) -> [UInt8] { Array(value.utf8) }
        func decode(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
    }

    @Test("a codec whose identifier does not fit into a payload is refused")
    func faultyCodec() throws {
        let store = InMemoryLeaseStore(server: InMemoryLeaseServer())
        let error = #expect(throws: DistributedGroupError.self) {
            try DistributedGroup<String, String>("group", store: store, codec: LongName())
        }
        #expect(error?.code == .invalidConfiguration)
    }
}

extension CoalescingMode {
    fileprivate static let both: [CoalescingMode] = [.coalesce, .observe]
}

@Suite("Results that cannot be passed on", .timeLimit(.minutes(4)))
struct ResultTests {
    struct Picky: FlightCodec {
        var identifier = "picky/1"
        func encode(_ value: String) throws -> [UInt8] {
            guard value != "unencodable" else { throw Failure() }
            return Array(value.utf8)
        }
        func decode(_ bytes: [UInt8]) throws -> String {
            guard bytes != Array("undecodable".utf8) else { throw Failure() }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    /// What a leader's value becomes for its own caller and for a follower.
    private func results(
        of value: String,
        followerCodec: Picky = Picky(),
        _ change: (inout DistributedGroupConfiguration) -> Void = { _ in }
    ) async throws -> (local: Result<String, any Error>, remote: Result<String, any Error>) {
        let cluster = try Cluster()
        let (work, other) = (Work(), Work())
        func process(_ codec: Picky) throws -> Process {
            let store = InMemoryLeaseStore(server: cluster.server)
            let group = try DistributedGroup<String, String>(
                "group",
                store: store,
                configuration: .test(change),
                codec: codec
            )
            return Process(store: store, group: group)
        }
        let (a, b) = (try process(Picky()), try process(followerCodec))
        let leader = a.call(work)
        await work.untilStarted()
        let follower = b.call(other)
        await cluster.untilFollowed(by: 1)
        work.finish(.success(value))
        let results = (try await leader.value.completion().result, try await follower.value.completion().result)
        #expect(other.starts == 0)
        await cluster.expectNothingLeft(a, b)
        return results
    }

    private func code(_ result: Result<String, any Error>) -> DistributedGroupError.Code? {
        if case .failure(let error as DistributedGroupError) = result { error.code } else { nil }
    }

    @Test("a value that cannot be encoded is an error for everybody, here and elsewhere")
    func unencodable() async throws {
        let (local, remote) = try await self.results(of: "unencodable")
        #expect(self.code(local) == .encodingFailed)
        #expect(self.code(remote) == .encodingFailed)
    }

    @Test("numbers that JSON does not have reach everybody")
    func nonConformingNumbers() async throws {
        let cluster = try Cluster()
        let groups = try ["a", "b"].map { label in
            let store = InMemoryLeaseStore(server: cluster.server, label: label)
            return try DistributedGroup<String, [Double]>("group", store: store, configuration: .test)
        }
        let gate = Gate()
        let started = Gate()
        let leader = Task {
            try await groups[0].value("key") { _ in
                started.open()
                await gate.wait()
                return [.infinity, -.infinity, .nan, 1.5]
            }
        }
        await started.wait()
        let follower = Task { try await groups[1].value("key") { _ in [] } }
        await cluster.untilFollowed(by: 1)
        gate.open()
        for call in [leader, follower] {
            let numbers = try await call.value
            #expect(numbers.prefix(2) == [.infinity, -.infinity])
            #expect(numbers.dropFirst(2).first?.isNaN == true)
            #expect(numbers.last == 1.5)
        }
    }

    @Test("a value that cannot be decoded is an error where it cannot, and a value elsewhere")
    func undecodable() async throws {
        let (local, remote) = try await self.results(of: "undecodable")
        #expect(try local.get() == "undecodable")
        #expect(self.code(remote) == .decodingFailed)
        let error = #expect(throws: DistributedGroupError.self) { try remote.get() }
        #expect(error?.message.contains("have this group's name?") == true)
    }

    @Test(
        "where the group says so, the operation runs in a process that cannot decode, and handles get the error",
        arguments: [false, true]
    )
    func undecodableRunsLocally(isReused: Bool) async throws {
        let cluster = try Cluster()
        let configuration = DistributedGroupConfiguration.test {
            $0.results.undecodable = .runLocally
            if isReused { $0.results.reuse = .seconds(1) }
        }
        let (work, other) = (Work(), Work())
        let a = try cluster.process("a", configuration)
        let store = InMemoryLeaseStore(server: cluster.server, label: "b")
        let b = Process(
            store: store,
            group: try DistributedGroup("group", store: store, configuration: configuration, codec: Picky())
        )
        let leader = a.call(work)
        await work.untilStarted()
        if isReused {
            work.finish(.success("a's"))
            _ = await leader.value
        }
        let call = b.call(other)
        if !isReused {
            await cluster.untilFollowed(by: 1)
            let handle = try await b.subscribes()
            work.finish(.success("a's"))
            #expect(self.code(try await handle.outcome().completion().result) == .decodingFailed)
        }
        await other.untilStarted()
        other.finish(.success("b's"))
        let completion = try await call.value.completion()
        #expect(try completion.result.get() == "b's")
        #expect(completion.coordination == .undecodable)
        #expect(completion.source == .thisProcess)
        #expect(completion.token == nil)
        #expect(other.starts == 1)
        #expect(try await leader.value.completion().result.get() == "a's")
        await b.store.untilIdle()
        cluster.clock.advance(by: .seconds(1))
        await cluster.expectNothingLeft(a, b)
    }

    @Test("a payload of another codec is refused, not misread")
    func otherCodec() async throws {
        let (_, remote) = try await self.results(of: "value", followerCodec: Picky(identifier: "picky/2"))
        #expect(self.code(remote) == .decodingFailed)
    }

    @Test("a value of the greatest size passes, and one byte more is an error for everybody")
    func maximumResultBytes() async throws {
        let fits = try await self.results(of: "1234") { $0.results.maximumBytes = 4 }
        #expect(try fits.local.get() == "1234")
        #expect(try fits.remote.get() == "1234")
        let tooLarge = try await self.results(of: "12345") { $0.results.maximumBytes = 4 }
        #expect(self.code(tooLarge.local) == .resultTooLarge)
        #expect(self.code(tooLarge.remote) == .resultTooLarge)
    }

    @Test(
        "a value, and a failure where the group wants it, is reused within its time and not after it",
        arguments: [true, false]
    )
    func reuse(isFailure: Bool) async throws {
        let cluster = try Cluster()
        let configuration = DistributedGroupConfiguration.test {
            $0.results.reuse = .seconds(1)
            $0.results.reuseFailures = isFailure ? .seconds(1) : .zero
        }
        let (a, b) = (try cluster.process("a", configuration), try cluster.process("b", configuration))
        let (work, other) = (Work(), Work())
        work.finish(isFailure ? .failure(Failure()) : .success("first"))
        other.finish(.success("second"))
        _ = await a.call(work).value
        let again = try await b.call(other).value.completion()
        #expect(again.source == .reused && again.role == .reused)
        #expect(other.starts == 0)
        await b.store.untilIdle()
        cluster.clock.advance(by: .seconds(1))
        #expect(try await b.call(other).value.completion().result.get() == "second")
        await cluster.expectNothingLeft(a, b)
    }
}

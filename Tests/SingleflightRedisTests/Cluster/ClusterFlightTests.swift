import HiredisClient
import Logging
import ObservabilityTestSupport
import PrivateRedis
import SingleflightLease
import SingleflightTestKit
import Synchronization
import TestSupport
import Testing

@testable import SingleflightRedis

/// Flights on a real cluster of three primaries.
@Suite("Flights on a cluster", .usesServer, .timeLimit(.minutes(5)))
struct ClusterFlightTests {
    @Test("a value travels between processes, whichever node its key lies on, by push")
    func travels() async throws {
        try await PrivateCluster.with { cluster in
            try await withTwoStores(cluster) { one, two in
                #expect(one.client.kind == .cluster && two.client.kind == .cluster)
                for key in try await cluster.keyOnEachNode() {
                    let flight = try await HeldFlight.begin(key, one, two, lease: .seconds(90))
                    #expect(try await flight.end() == ["led \(key)", "led \(key)"])
                }
                for number in 0..<60 {
                    let flight = try await HeldFlight.begin("many \(number)", one, two, lease: .seconds(90))
                    #expect(try await flight.end().last == "led many \(number)")
                }
            }
        }
    }

    @Test("an uncontended flight costs what it costs on one server, and the first of a partition its subscription")
    func cost() async throws {
        try await PrivateCluster.with { cluster in
            try await withTwoStores(cluster) { one, _ in
                let group = try one.patientGroup()
                // What is asked once, when a connection is made.
                for key in try await cluster.keyOnEachNode() {
                    for _ in 0..<3 { _ = try await group.run(key) { _ in "" }.get() }
                }
                let key = "a key of another partition"
                let before = try await Self.calls(cluster)
                _ = try await group.run(key) { _ in "" }.get()
                try await until("the inbox is subscribed") {
                    try await Self.calls(cluster)["ssubscribe"] != before["ssubscribe"]
                }
                let first = try await Self.calls(cluster)
                _ = try await group.run(key) { _ in "" }.get()
                let second = try await Self.calls(cluster)
                let costs = [(before, first), (first, second)].map { earlier, later in
                    later.filter { $0.value != earlier[$0.key] }.reduce(into: [String: Int]()) { costs, call in
                        costs[call.key] = call.value - (earlier[call.key] ?? 0)
                    }
                }
                // The flight's end, by script or by a command. What the script sends counts as well.
                let ends = costs.map { costs in ["evalsha", "delifeq", "delex"].compactMap { costs[$0] } }
                #expect(ends == [[1], [1]])
                #expect(costs[0]["ssubscribe"] == 1)
                #expect(costs[0]["set"] == 1)
                #expect(costs[1]["ssubscribe"] == nil)
                #expect(costs[1]["set"] == 1)
                #expect(costs[1]["spublish"] == nil && costs[1]["publish"] == nil)
            }
        }
    }

    /// How often each command was called, on all nodes together.
    private static func calls(_ cluster: PrivateCluster) async throws -> [String: Int] {
        var calls: [String: Int] = [:]
        for index in cluster.nodes.indices {
            for line in try await cluster.ask(index, "INFO", "commandstats").split(whereSeparator: \.isNewline) {
                guard line.hasPrefix("cmdstat_"), let colon = line.firstIndex(of: ":") else { continue }
                let name = String(line[..<colon].dropFirst("cmdstat_".count))
                let count = line[colon...].prefix { $0 != "," }.split(separator: "=").last.flatMap { Int($0) }
                calls[name, default: 0] += count ?? 0
            }
        }
        return calls
    }

    @Test("the log says once that there is a cluster")
    func log() async throws {
        try await PrivateCluster.with { cluster in
            let record = LogRecord()
            try await RedisLeaseStore.withConnection(to: cluster.url, logger: record.logger) { store in
                let group = try store.patientGroup()
                for key in try await cluster.keyOnEachNode() { _ = try await group.run(key) { _ in "" }.get() }
            }
            #expect(record.lines.count { $0.message == "redis is a cluster" } == 1)
            #expect(!record.lines.contains { $0.level >= .warning })
        }
    }

    @Test("a database other than 0 is refused in words that help")
    func database() async throws {
        #expect(throws: LeaseStoreError.self) {
            try RedisLeaseStore(url: "redis://127.0.0.1:6379/3?topology=cluster")
        }
        try await PrivateCluster.with { cluster in
            let error = await #expect(throws: LeaseStoreError.self) {
                try await RedisLeaseStore.withConnection(to: cluster.url + "/3") { _ in }
            }
            #expect(error?.code == .invalidRequest)
            #expect(error?.message.contains("database 0 only") == true)
        }
    }

    @Test("requests that are made before anything is connected find their way")
    func early() async throws {
        try await PrivateCluster.with { cluster in
            let keys = try await cluster.keyOnEachNode()
            let store = try RedisLeaseStore(
                url: cluster.url,
                configuration: .init(namespace: "test", commandTimeout: .seconds(10))
            )
            let group = try store.patientGroup()
            let calls = keys.map { key in Task { await group.run(key) { _ in key } } }
            try store.start()
            for (key, call) in zip(keys, calls) {
                guard case .complete(let completion) = await call.value else {
                    Issue.record("no result")
                    continue
                }
                #expect(try completion.result.get() == key)
                #expect(completion.coordination == .coordinated)
            }
            await store.shutDown()
        }
    }

    @Test("a user of the documented rights leads, follows, is woken by push, and shares streams")
    func leastPrivilege() async throws {
        let rights = """
            worker on >pass resetchannels &sf2:{test:* ~sf2:{test:* -@all +set +get +del +hset +hget +hdel +hlen +hkeys \
            +hrandfield +rpush +llen +lrange +pexpire +pttl +strlen +publish +evalsha +eval +script|load +subscribe +unsubscribe +ping +time \
            +role +client|setname +auth +select +quit +ssubscribe +spublish +asking +cluster|slots +cluster|shards \
            +cluster|info +pubsub|shardnumsub
            """
        try await PrivateCluster.with(.init(users: [rights])) { cluster in
            let configuration = RedisLeaseStoreConfiguration(namespace: "test", commandTimeout: .seconds(10))
            let urls = [cluster.url, cluster.clusterURL].map {
                $0.replacing("redis://", with: "redis://worker:pass@")
            }
            try await RedisLeaseStore.withConnection(to: urls[0], configuration: configuration) { one in
                try await RedisLeaseStore.withConnection(to: urls[1], configuration: configuration) { two in
                    for key in try await cluster.keyOnEachNode() {
                        let flight = try await HeldFlight.begin(key, one, two, lease: .seconds(90))
                        let results = try await flight.end()
                        #expect(results == ["led \(key)", "led \(key)"])
                        try await StreamTests.share(key, one, two)
                    }
                }
            }
        }
    }

    @Test("long results have a connection of their own to each node")
    func longResults() async throws {
        try await PrivateCluster.with { cluster in
            try await withTwoStores(cluster) { one, two in
                let text = String(repeating: "long ", count: 100_000)
                for key in try await cluster.keyOnEachNode() {
                    let (leading, following) = (try one.patientGroup(), try two.patientGroup())
                    let gate = Gate()
                    let leader = Task {
                        await leading.run(key) { _ in
                            await gate.wait()
                            return text
                        }
                    }
                    await gate.untilArrived()
                    let follower = Task { await following.run(key) { _ in "own" } }
                    try await one.untilWaiters(1, group: "pages", key: key)
                    gate.open()
                    let results = [try await leader.value.get(), try await follower.value.get()]
                    #expect(results == [text, text])
                }
            }
        }
    }

    @Test("events are heard of all partitions")
    func events() async throws {
        try await PrivateCluster.with { cluster in
            try await withTwoStores(cluster, events: true) { one, two in
                var reader = EventReader(updates: try await two.events().makeAsyncIterator())
                #expect(await reader.nextUpdate() == .resumed)
                for key in try await cluster.keyOnEachNode() {
                    _ = try await one.patientGroup().run(key) { _ in "" }.get()
                    let (acquired, completed) = (await reader.next(), await reader.next())
                    #expect(acquired?.key == key && acquired?.change == .acquired)
                    #expect(completed?.key == key && completed?.change == .completed)
                }
                // They stay with the nodes of their slots.
                #expect(try await Self.calls(cluster)["publish"] == nil)
            }
        }
    }

    @Test("leases are found on all primaries, and flights, namespaces and last runs")
    func inspection() async throws {
        try await PrivateCluster.with { cluster in
            try await withTwoStores(cluster) { one, two in
                let keys = try await cluster.keyOnEachNode()
                var flights: [HeldFlight] = []
                for key in keys { flights.append(try await .begin(key, one, two, lease: .seconds(90))) }
                let leases = try await two.leases()
                #expect(Set(leases.map(\.key)) == Set(keys))
                #expect(leases.map(\.waiterCount) == [1, 1, 1])
                #expect(try await two.namespaces().first?.leases == 3)
                for key in keys {
                    #expect(try await one.flights(of: key).count == 1)
                    let flightKey = try FlightKey(group: "pages", bytes: Array(key.utf8))
                    try await one.recordSkip(of: flightKey)
                    #expect(try await two.lastRuns(of: flightKey).skips == 1)
                }
                let probe = try await two.pushProbe()
                #expect(await probe.measure() != nil)
                await probe.shutDown()
                for flight in flights { _ = try await flight.end() }
            }
        }
    }

    @Test("circles through flights on different nodes are found")
    func circles() async throws {
        try await PrivateCluster.with { cluster in
            try await withTwoStores(cluster) { one, two in
                let keys = try await cluster.keyOnEachNode()
                let (here, there) = (try one.patientGroup(), try two.patientGroup())
                let begun = Gate()
                begun.open()
                let (first, second) = (Gate("first"), Gate("second"))
                let left = Task {
                    await here.run(keys[0]) { _ in
                        await first.wait()
                        return try await here.run(keys[1]) { _ in "never" }.get()
                    }
                }
                let right = Task {
                    await there.run(keys[1]) { _ in
                        await second.wait()
                        return try await there.run(keys[0]) { _ in "never" }.get()
                    }
                }
                await first.untilArrived()
                await second.untilArrived()
                first.open()
                try await one.untilWaiters(1, group: "pages", key: keys[1])
                second.open()
                for call in [left, right] {
                    await #expect(throws: (any Error).self) { try await call.value.get() }
                }
            }
        }
    }
}

/// What is promised of every store, on a cluster.
@Suite("The store on a cluster", .usesServer, .timeLimit(.minutes(10)))
struct ClusterConformanceTests {
    /// Its stores live until the test ends, and have subscribed to all their inboxes: a case listens for what is told
    /// once.
    private final class Fixture: LeaseStoreFixture {
        private let url: String
        private let stores = Mutex<[RedisLeaseStore]>([])

        init(url: String) {
            self.url = url
        }

        func makeStore(label: String) async throws -> any LeaseStore {
            let configuration = RedisLeaseStoreConfiguration(label: label, commandTimeout: .seconds(10))
            let store = try RedisLeaseStore(url: self.url, configuration: configuration)
            self.stores.withLock { $0.append(store) }
            try store.start()
            try await store.untilConnected()
            for partition in 0..<Keyspace.partitionCount { store.shardInboxes.need(UInt16(partition)) }
            for partition in 0..<Keyspace.partitionCount {
                try await store.shardInboxes.untilSubscribed(UInt16(partition), within: .seconds(30))
            }
            return store
        }

        func kill(_ store: any LeaseStore) async {
            guard let store = store as? RedisLeaseStore else { return }
            await store.shutDown()
            // The servers notice in their own time.
            guard let other = self.stores.withLock({ $0.first { $0 !== store } }) else { return }
            for partition in 0..<Keyspace.partitionCount {
                let channel = RedisArgument.string(store.keyspace.shardInbox(store.inbox, of: partition))
                let place = RedisOrder.none(in: store.keyspace.slot(of: partition))
                let question = RedisCommand("PUBSUB", "SHARDNUMSUB", channel)
                while let reply = try? await other.client.send(question, order: place),
                    reply.array?.last?.integer != 0
                {
                    await Task.yield()
                }
            }
        }

        func advance(by duration: Duration) async {
            try? await ContinuousClock().sleep(for: duration)
        }

        func shutDown() async {
            for store in self.stores.withLock({ $0 }) { await store.shutDown() }
        }
    }

    @Test("keeps the promises of a lease store")
    func conforms() async throws {
        try await PrivateCluster.with { cluster in
            for promise in LeaseStoreConformance.cases {
                let fixture = Fixture(url: cluster.clusterURL)
                do {
                    try await promise.run(on: fixture)
                } catch {
                    Issue.record("\(promise): \(error)")
                }
                await fixture.shutDown()
            }
        }
    }
}

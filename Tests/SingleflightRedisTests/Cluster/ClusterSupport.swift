import HiredisClient
import PrivateRedis
import SingleflightLease
import TestSupport
import Testing

@testable import SingleflightRedis

/// Two processes' stores on one cluster: the first was told of one of its nodes, the second of the whole.
func withTwoStores<Result: Sendable>(
    _ cluster: PrivateCluster,
    commandTimeout: Duration = .seconds(10),
    events: Bool = false,
    _ body: (RedisLeaseStore, RedisLeaseStore) async throws -> Result
) async throws -> Result {
    func configuration(_ label: String) -> RedisLeaseStoreConfiguration {
        .init(namespace: "test", label: label, commandTimeout: commandTimeout, publishesEvents: events)
    }
    return try await RedisLeaseStore.withConnection(to: cluster.url, configuration: configuration("one")) { one in
        try await RedisLeaseStore.withConnection(
            to: cluster.clusterURL,
            configuration: configuration("two")
        ) { two in
            try await body(one, two)
        }
    }
}

extension RedisLeaseStore {
    /// A group whose leases outlast a test: no process learns of an outcome by their end.
    func patientGroup(lease: Duration = .seconds(90)) throws -> DistributedGroup<String, String> {
        try DistributedGroup("pages", store: self, configuration: .init(lease: .init(duration: lease)))
    }
}

/// Where the names of a key lie.
func slot(of key: String) throws -> Int {
    let flightKey = try FlightKey(group: "pages", bytes: Array(key.utf8))
    return Int(Keyspace(namespace: "test").slot(of: Keyspace.partition(of: flightKey)).number)
}

extension PrivateCluster {
    /// Keys, one for each of the first nodes, in their order.
    func keyOnEachNode(_ count: Int = 3) async throws -> [String] {
        var keys: [Int: String] = [:]
        var number = 0
        while keys.count < count {
            let key = "key \(number)"
            number += 1
            let node = try await owner(of: try slot(of: key))
            if node < count, keys[node] == nil { keys[node] = key }
        }
        return (0..<count).compactMap { keys[$0] }
    }
}

/// A flight that one process leads and another follows, for as long as a test wants.
struct HeldFlight: Sendable {
    let key: String
    let gate: Gate
    let leader: Task<Outcome<String>, Never>
    let follower: Task<Outcome<String>, Never>

    static func begin(_ key: String, _ one: RedisLeaseStore, _ two: RedisLeaseStore, lease: Duration) async throws
        -> HeldFlight
    {
        let (leading, following) = (try one.patientGroup(lease: lease), try two.patientGroup(lease: lease))
        let gate = Gate("the operation of \(key)")
        let leader = Task {
            await leading.run(key) { _ in
                await gate.wait()
                return "led \(key)"
            }
        }
        await gate.untilArrived()
        let follower = Task { await following.run(key) { _ in "own" } }
        try await one.untilWaiters(1, group: "pages", key: key)
        return HeldFlight(key: key, gate: gate, leader: leader, follower: follower)
    }

    /// Lets the operation return, and answers what both were given.
    func end() async throws -> [String] {
        gate.open()
        return [try await leader.value.get(), try await follower.value.get()]
    }
}

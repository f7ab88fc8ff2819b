import HiredisClient
import PrivateRedis
import SingleflightLease
import Synchronization
import TestSupport
import Testing

@testable import SingleflightRedis

/// Slots that move and nodes that fail under flights.
@Suite("Flights on a cluster that changes", .usesServer, .timeLimit(.minutes(5)))
struct ClusterMoveTests {
    @Test("slots that move, keys and all, under flights that are waited for: everybody gets the result, by push")
    func resharding() async throws {
        try await PrivateCluster.with { cluster in
            try await withTwoStores(cluster) { one, two in
                let keys = try await cluster.keyOnEachNode()
                for round in 0..<2 {
                    var flights: [HeldFlight] = []
                    for key in keys { flights.append(try await .begin(key, one, two, lease: .seconds(90))) }
                    for key in keys {
                        let slot = try slot(of: key)
                        try await cluster.move(slot, to: (try await cluster.owner(of: slot) + 1) % 3)
                    }
                    // Those who wait have heard of it.
                    for key in keys { try await two.untilHeard(key) }
                    for flight in flights {
                        #expect(try await flight.end() == ["led \(flight.key)", "led \(flight.key)"], "round \(round)")
                    }
                }
            }
        }
    }

    @Test("while a slot is on its way, flights begin, are joined and end")
    func underWay() async throws {
        try await PrivateCluster.with { cluster in
            try await withTwoStores(cluster) { one, two in
                let key = try await cluster.keyOnEachNode()[0]
                let slot = try slot(of: key)
                try await cluster.beginMove(slot, from: 0, to: 1)
                // None of the keys is there yet: the source says ASK, and the target takes the lease.
                let (leading, following) = (try one.patientGroup(), try two.patientGroup())
                let gate = Gate()
                let leader = Task {
                    await leading.run(key) { _ in
                        await gate.wait()
                        return "led"
                    }
                }
                await gate.untilArrived()
                // Of the keys of the script some are there and some nowhere: TRYAGAIN, until the move is over.
                let follower = Task { await following.run(key) { _ in "own" } }
                try await until("the target is asked") {
                    try await cluster.ask(1, "INFO", "errorstats").contains("errorstat_TRYAGAIN")
                }
                try await cluster.endMove(slot, from: 0, to: 1)
                try await one.untilWaiters(1, group: "pages", key: key)
                try await two.untilHeard(key)
                gate.open()
                let results = [try await leader.value.get(), try await follower.value.get()]
                #expect(results == ["led", "led"])
                #expect(try await cluster.owner(of: slot) == 1)
            }
        }
    }

    @Test("requests of one key keep their order while its slot moves")
    func order() async throws {
        try await PrivateCluster.with { cluster in
            try await withTwoStores(cluster) { one, _ in
                let key = try await cluster.keyOnEachNode()[0]
                let slot = try slot(of: key)
                let names = one.keyspace.names(of: try FlightKey(group: "pages", bytes: Array(key.utf8)))
                let ended = Counter()
                let moves = Task {
                    defer { ended.increment() }
                    for round in 0..<6 { try await cluster.move(slot, to: (round + 1) % 3) }
                }
                var sent = ""
                // As long as the slot moves, and for ten rounds more.
                var rest = 10
                while rest > 0, !Task.isCancelled {
                    if ended.value > 0 { rest -= 1 }
                    let letters = (0..<50).map { _ in "abcdefgh".randomElement() ?? "a" }
                    let answers = await withCheckedContinuation { continuation in
                        let collected = Collected(count: letters.count) { continuation.resume(returning: $0) }
                        for (index, letter) in letters.enumerated() {
                            let append = RedisCommand("APPEND", names.runs, .string(String(letter)))
                            one.client.send(append, order: names.order) { result in
                                collected.put((try? result.get()) != nil, at: index)
                            }
                        }
                    }
                    // What was overtaken was not carried out.
                    for (letter, wasCarriedOut) in zip(letters, answers) where wasCarriedOut { sent.append(letter) }
                }
                try await moves.value
                let kept = try await one.client.send(RedisCommand("GET", names.runs), order: names.place)
                #expect(kept.string == sent)
                #expect(sent.utf8.count >= 500, "most of the requests were not carried out")
            }
        }
    }

    @Test("a replica takes over in good order: everybody gets the result")
    func failover() async throws {
        try await PrivateCluster.with(.init(replicas: 1)) { cluster in
            try await withTwoStores(cluster) { one, two in
                let keys = try await cluster.keyOnEachNode()
                var flights: [HeldFlight] = []
                for key in keys { flights.append(try await .begin(key, one, two, lease: .seconds(90))) }
                try await cluster.failOver(to: 3)
                try await two.untilHeard(keys[0])
                for flight in flights {
                    #expect(try await flight.end() == ["led \(flight.key)", "led \(flight.key)"])
                }
                #expect(try await cluster.owner(of: try slot(of: keys[0])) == 3)
            }
        }
    }

    @Test("a primary that is killed: nobody hangs, and its keys are led again where its replica took over")
    func killed() async throws {
        try await PrivateCluster.with(.init(replicas: 1, nodeTimeout: 2_000)) { cluster in
            try await withTwoStores(cluster, commandTimeout: .seconds(3)) { one, two in
                let keys = try await cluster.keyOnEachNode()
                var flights: [HeldFlight] = []
                for key in keys { flights.append(try await .begin(key, one, two, lease: .seconds(60))) }
                await cluster.nodes[0].kill()
                // Those elsewhere do not notice.
                #expect(try await flights[1].end() == ["led \(keys[1])", "led \(keys[1])"])
                try await cluster.until("the replica took over") { try await cluster.isPrimary(3) }
                for flight in [flights[0], flights[2]] {
                    for value in try await flight.end() { #expect(["led \(flight.key)", "own"].contains(value)) }
                }
                let key = try FlightKey(group: "pages", bytes: Array(keys[0].utf8))
                for store in [one, two] {
                    try await until("\(store.label) uses the new primary") { (try? await store.inspected(key)) != nil }
                }
                let again = try await HeldFlight.begin(keys[0], one, two, lease: .seconds(60))
                #expect(try await again.end() == ["led \(keys[0])", "led \(keys[0])"])
            }
        }
    }

    @Test("a cluster that is down says so within the command timeout, and serves again when it is well")
    func down() async throws {
        try await PrivateCluster.with { cluster in
            try await withTwoStores(cluster, commandTimeout: .seconds(2)) { one, _ in
                let keys = try await cluster.keyOnEachNode()
                let group = try DistributedGroup<String, String>(
                    "pages",
                    store: one,
                    configuration: .init(unavailable: .fail)
                )
                for key in keys { _ = try await group.run(key) { _ in "" }.get() }
                // Each node forgets for itself that somebody serves this slot.
                for node in 0..<3 { try await cluster.ask(node, "CLUSTER", "DELSLOTS", "0") }
                try await cluster.until("the cluster is down") {
                    for node in 0..<3 {
                        let state = try await cluster.info(node)["cluster_state"]
                        if state != "fail" { return false }
                    }
                    return true
                }
                for key in keys {
                    let start = ContinuousClock.now
                    let request = try EnterRequest.make(FlightKey(group: "pages", bytes: Array(key.utf8)))
                    let error = await #expect(throws: LeaseStoreError.self) { try await one.entered(request) }
                    #expect(error?.isTransient == true)
                    #expect(start.duration(to: .now) < .seconds(20))
                }
                try await cluster.ask(0, "CLUSTER", "ADDSLOTS", "0")
                try await cluster.untilWell()
                for key in keys { #expect(try await group.run(key) { _ in "again" }.get() == "again") }
            }
        }
    }

    @Test("of a cluster of which one node does not answer, the keys of the others go on")
    func half() async throws {
        try await PrivateCluster.with(.init(nodeTimeout: 30_000)) { cluster in
            try await withTwoStores(cluster, commandTimeout: .seconds(1)) { one, _ in
                let keys = try await cluster.keyOnEachNode()
                let group = try DistributedGroup<String, String>(
                    "pages",
                    store: one,
                    configuration: .init(unavailable: .fail)
                )
                for key in keys { _ = try await group.run(key) { _ in "" }.get() }
                cluster.nodes[1].pause()
                let error = await #expect(throws: DistributedGroupError.self) {
                    try await group.run(keys[1]) { _ in "" }.get()
                }
                #expect(error?.code == .unavailable)
                for key in [keys[0], keys[2]] { #expect(try await group.run(key) { _ in "on" }.get() == "on") }
                cluster.nodes[1].resume()
                try await until("the node is in use again") {
                    (try? await group.run(keys[1]) { _ in "back" }.get()) == "back"
                }
            }
        }
    }
}

/// Collects answers to a known number of requests.
private final class Collected: Sendable {
    private let state: Mutex<(answers: [Bool], missing: Int)>
    private let done: @Sendable ([Bool]) -> Void

    init(count: Int, _ done: @escaping @Sendable ([Bool]) -> Void) {
        self.state = Mutex((Array(repeating: false, count: count), count))
        self.done = done
    }

    func put(_ answer: Bool, at index: Int) {
        let all = self.state.withLock { state in
            state.answers[index] = answer
            state.missing -= 1
            return state.missing == 0 ? state.answers : nil
        }
        if let all { self.done(all) }
    }
}

extension RedisLeaseStore {
    /// Waits until somebody hears what is told to this process's inbox for a key, at the primary of its slot.
    fileprivate func untilHeard(_ key: String) async throws {
        let partition = Keyspace.partition(of: try FlightKey(group: "pages", bytes: Array(key.utf8)))
        let channel = self.keyspace.shardInbox(self.inbox, of: partition)
        let place = RedisOrder.none(in: self.keyspace.slot(of: partition))
        try await until("the inbox for \(key) is heard") {
            let told = try? await self.client.send(RedisCommand("SPUBLISH", .string(channel), "nothing"), order: place)
            return told?.integer == 1
        }
    }
}

import Synchronization

/// A Redis Cluster of one's own on ports of 127.0.0.1, for the demo and the tests: each node is a ``PrivateRedis``,
/// with all that is promised there. Redis 7.0 or later.
///
/// Safe from any thread.
package final class PrivateCluster: Sendable {
    /// What kind of cluster to start.
    package struct Configuration: Sendable {
        package var primaries: Int
        /// How many replicas each primary has.
        package var replicas: Int
        /// After how many milliseconds without an answer nodes take another one for failed.
        package var nodeTimeout: Int
        /// With which files nodes speak TLS, on a port of their own and among one another; nil for not at all.
        package var tls: TLS?
        /// Whether nodes tell one another, and clients, addresses of IPv6: ::1.
        package var announcesIPv6: Bool
        /// ACL users, and further lines of each node's configuration file.
        package var users: [String]
        package var extraLines: [String]
        /// Where `redis-server` is looked for, as in `PATH`; nil means this process's `PATH`.
        package var searchPath: String?

        /// Describes a cluster; by default of three primaries without replicas.
        package init(
            primaries: Int = 3,
            replicas: Int = 0,
            nodeTimeout: Int = 5_000,
            tls: TLS? = nil,
            announcesIPv6: Bool = false,
            users: [String] = [],
            extraLines: [String] = [],
            searchPath: String? = nil
        ) {
            self.primaries = primaries
            self.replicas = replicas
            self.nodeTimeout = nodeTimeout
            self.tls = tls
            self.announcesIPv6 = announcesIPv6
            self.users = users
            self.extraLines = extraLines
            self.searchPath = searchPath
        }
    }

    /// PEM files of all nodes: a certificate for 127.0.0.1 that serves clients and servers alike, and its authority.
    package struct TLS: Sendable {
        package var certificate: String
        package var key: String
        package var authority: String

        package init(certificate: String, key: String, authority: String) {
            self.certificate = certificate
            self.key = key
            self.authority = authority
        }
    }

    /// A node, and its port for TLS.
    private struct Node {
        var server: PrivateRedis
        var tlsPort: UInt16?
    }

    /// The number of slots of every cluster.
    package static let slotCount = 16_384
    /// How long nodes may take to agree, on a busy machine.
    private static let patience = Duration.seconds(30)

    private let configuration: Configuration
    /// The primaries, as they were at the start, and behind them their replicas, in the same order.
    package let nodes: [PrivateRedis]
    /// Their ports for TLS, in the same order; none without it.
    package let tlsPorts: [UInt16]

    private init(_ configuration: Configuration, _ nodes: [Node]) {
        self.configuration = configuration
        self.nodes = nodes.map(\.server)
        self.tlsPorts = nodes.compactMap(\.tlsPort)
    }

    /// Starts a cluster and returns when all of its nodes take it for well.
    ///
    /// - Throws: ``PrivateRedisError``; what a node answers instead of OK; ``PrivateClusterError``.
    package static func start(_ configuration: Configuration = Configuration()) async throws -> PrivateCluster {
        let count = configuration.primaries * (1 + configuration.replicas)
        let nodes = try await withThrowingTaskGroup(of: Node.self) { group in
            for _ in 0..<count { group.addTask { try await Self.startNode(configuration) } }
            var nodes: [Node] = []
            for try await node in group { nodes.append(node) }
            return nodes
        }
        let cluster = PrivateCluster(configuration, nodes)
        do {
            try await cluster.join()
            return cluster
        } catch {
            await cluster.stop()
            throw error
        }
    }

    /// Starts a cluster, calls `body` with it, and stops it whichever way `body` ends.
    package static func with<Result>(
        _ configuration: Configuration = Configuration(),
        _ body: (PrivateCluster) async throws -> Result
    ) async throws -> Result {
        let cluster = try await start(configuration)
        do {
            let result = try await body(cluster)
            await cluster.stop()
            return result
        } catch {
            await cluster.stop()
            throw error
        }
    }

    /// Bus and TLS have ports of their own, which are chosen as the others are.
    private static func startNode(_ configuration: Configuration) async throws -> Node {
        // Another one may have taken a port.
        for _ in 1..<5 {
            if let node = try? await startOnce(configuration) { return node }
        }
        return try await startOnce(configuration)
    }

    private static func startOnce(_ configuration: Configuration) async throws -> Node {
        let tlsPort = configuration.tls.map { _ in UInt16.random(in: 20_000..<32_000) }
        return Node(server: try await PrivateRedis.start(server(configuration, tlsPort)), tlsPort: tlsPort)
    }

    private static func server(_ configuration: Configuration, _ tlsPort: UInt16?) -> PrivateRedis.Configuration {
        var lines = [
            "cluster-enabled yes", "cluster-config-file nodes.conf",
            "cluster-port \(UInt16.random(in: 20_000..<32_000))",
            "cluster-node-timeout \(configuration.nodeTimeout)", "cluster-replica-validity-factor 0",
            "repl-diskless-sync-delay 0",
        ]
        if let tls = configuration.tls, let tlsPort {
            lines += [
                "tls-port \(tlsPort)", "tls-cluster yes", "tls-replication yes", "tls-auth-clients no",
                "tls-cert-file \(tls.certificate)", "tls-key-file \(tls.key)", "tls-ca-cert-file \(tls.authority)",
            ]
        }
        if configuration.announcesIPv6 { lines.append("cluster-announce-ip \(host(configuration))") }
        return PrivateRedis.Configuration(
            listening: .tcp(.free),
            listensOnIPv6: configuration.announcesIPv6,
            users: configuration.users,
            extraLines: configuration.extraLines + lines,
            searchPath: configuration.searchPath
        )
    }

    /// Where nodes say that they are.
    private static func host(_ configuration: Configuration) -> String {
        configuration.announcesIPv6 ? "::1" : "127.0.0.1"
    }

    private func join() async throws {
        let share = (Self.slotCount + configuration.primaries - 1) / configuration.primaries
        for index in nodes.indices {
            try await ask(index, "CLUSTER", "SET-CONFIG-EPOCH", "\(index + 1)")
            guard index < configuration.primaries else { continue }
            let last = min((index + 1) * share, Self.slotCount) - 1
            try await ask(index, "CLUSTER", "ADDSLOTSRANGE", "\(index * share)", "\(last)")
        }
        for index in nodes.indices.dropFirst() { try await meet(index, from: 0) }
        try await until("every node knows all others") {
            for index in self.nodes.indices {
                let known = try await self.info(index)["cluster_known_nodes"]
                if known != "\(self.nodes.count)" { return false }
            }
            return true
        }
        for index in nodes.indices.dropFirst(configuration.primaries) {
            try await replicate(index, of: index % configuration.primaries)
        }
        // A primary takes no orders of a replica that it does not know as its own.
        for index in 0..<configuration.primaries {
            let id = try await id(index)
            try await until("node \(index) knows its replicas") {
                let lines = Self.strings(try await self.ask(index, "CLUSTER", "REPLICAS", id))
                return lines.count == self.configuration.replicas
            }
        }
        try await untilWell()
    }

    /// Stops all nodes.
    package func stop() async {
        await withTaskGroup(of: Void.self) { group in
            for node in nodes { group.addTask { await node.stop(grace: .zero) } }
        }
    }

    // MARK: Asking

    /// Any node's address, as a URL of the whole.
    package var url: String { url(of: 0) }

    /// One node's address.
    package func url(of index: Int) -> String { "redis://\(authority(nodes[index].port))" }

    /// A URL that names the cluster as one, and its nodes.
    package var clusterURL: String {
        "redis://" + nodes.map { authority($0.port) }.joined(separator: ",") + "/?topology=cluster"
    }

    /// The same, by TLS: a node's address, and that of the cluster.
    package func tlsURL(of index: Int) -> String { "rediss://\(authority(tlsPorts[index]))/?\(trust)" }

    package var tlsClusterURL: String {
        "rediss://" + tlsPorts.map { authority($0) }.joined(separator: ",") + "/?topology=cluster&\(trust)"
    }

    private var trust: String { "ca=\(configuration.tls?.authority ?? "")" }

    private func authority(_ port: UInt16?) -> String {
        (configuration.announcesIPv6 ? "[::1]" : "127.0.0.1") + ":\(port ?? 0)"
    }

    /// Sends a command to a node and returns the raw reply.
    ///
    /// - Throws: ``PrivateClusterError`` if the node answers with an error.
    @discardableResult
    package func ask(_ index: Int, _ arguments: String...) async throws -> String {
        let reply = try await nodes[index].command(arguments)
        guard !reply.hasPrefix("-") else { throw PrivateClusterError.refused(reply, arguments) }
        return reply
    }

    /// The fields of a node's CLUSTER INFO.
    package func info(_ index: Int) async throws -> [String: String] {
        let lines = try await ask(index, "CLUSTER", "INFO").split(whereSeparator: \.isNewline)
        let pairs = lines.compactMap { line -> (String, String)? in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            return (String(line[..<colon]), String(line[line.index(after: colon)...]))
        }
        return Dictionary(pairs) { $1 }
    }

    /// A node's name in the cluster.
    package func id(_ index: Int) async throws -> String {
        Self.strings(try await ask(index, "CLUSTER", "MYID")).first ?? ""
    }

    /// Whether a node is a primary.
    package func isPrimary(_ index: Int) async throws -> Bool {
        try await ask(index, "ROLE").contains("\r\nmaster\r\n")
    }

    /// The node that serves a slot, as any node that runs has it.
    package func owner(of slot: Int) async throws -> Int {
        for index in nodes.indices where nodes[index].pid != nil {
            if let owner = try await owner(of: slot, asSeenBy: index) { return owner }
        }
        throw PrivateClusterError.uncovered(slot)
    }

    private func owner(of slot: Int, asSeenBy node: Int) async throws -> Int? {
        for line in Self.strings(try await ask(node, "CLUSTER", "NODES")) where !line.isEmpty {
            let fields = line.split(separator: " ")
            guard fields.count > 8, fields[2].contains("master"), !fields[2].contains("fail"),
                fields[8...].contains(where: { Self.holds($0, slot) }),
                let port = fields[1].split(separator: "@").first?.split(separator: ":").last
            else { continue }
            if let owner = nodes.firstIndex(where: { "\($0.port ?? 0)" == port }) { return owner }
        }
        return nil
    }

    /// Waits until all nodes that run have it that `owner` serves a slot, and know of the same epoch.
    ///
    /// Without that a slot which moves on at once goes to a node that does not know of its source's epoch yet: the
    /// source's claim is the later one then, and nodes disagree for good.
    private func untilAgreed(on owner: Int, for slot: Int) async throws {
        try await until("all nodes know that node \(owner) serves slot \(slot)") {
            var epochs: Set<String?> = []
            for index in self.nodes.indices where self.nodes[index].pid != nil {
                if try await self.owner(of: slot, asSeenBy: index) != owner { return false }
                epochs.insert(try await self.info(index)["cluster_current_epoch"])
            }
            return epochs.count == 1
        }
    }

    private static func holds(_ range: Substring, _ slot: Int) -> Bool {
        let bounds = range.split(separator: "-").map { Int($0) }
        switch bounds.count {
        case 1: return bounds[0] == slot
        case 2: return (bounds[0] ?? .max) <= slot && slot <= (bounds[1] ?? .min)
        default: return false
        }
    }

    /// The strings of a raw reply, for those that hold no line that begins like a length.
    static func strings(_ reply: String) -> [String] {
        reply.split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("$") && !$0.hasPrefix("*") }.map(String.init)
    }

    /// The port that other nodes use.
    private func portAmongNodes(of index: Int) -> UInt16 {
        configuration.tls == nil ? nodes[index].port ?? 0 : tlsPorts[index]
    }

    // MARK: Changing it

    /// Makes a node known to another.
    package func meet(_ index: Int, from other: Int) async throws {
        let bus = Self.strings(try await ask(index, "CONFIG", "GET", "cluster-port")).last ?? ""
        try await ask(other, "CLUSTER", "MEET", Self.host(configuration), "\(portAmongNodes(of: index))", bus)
    }

    /// Makes a node the replica of another.
    package func replicate(_ index: Int, of primary: Int) async throws {
        let id = try await id(primary)
        try await until("node \(index) replicates node \(primary)") {
            let reply = try await self.nodes[index].command("CLUSTER", "REPLICATE", id)
            return reply.hasPrefix("+OK")
        }
    }

    /// Returns when all nodes that run take the cluster for well, and all replicas are in step.
    package func untilWell() async throws {
        try await until("the cluster is well") {
            for index in self.nodes.indices where self.nodes[index].pid != nil {
                let state = try await self.info(index)["cluster_state"]
                if state != "ok" { return false }
                let role = try await self.ask(index, "ROLE")
                if role.contains("\r\nslave\r\n"), !role.contains("\r\nconnected\r\n") { return false }
            }
            return true
        }
    }

    /// Moves a slot with all its keys, as `redis-cli --cluster reshard` does, and returns when all nodes know of that.
    package func move(_ slot: Int, to target: Int) async throws {
        let source = try await owner(of: slot)
        guard source != target else { return }
        try await beginMove(slot, from: source, to: target)
        try await moveKeys(slot, from: source, to: target)
        try await endMove(slot, from: source, to: target)
        try await untilAgreed(on: target, for: slot)
    }

    /// From here on the slot's keys can go to the target, which answers for those that the source has not.
    package func beginMove(_ slot: Int, from source: Int, to target: Int) async throws {
        try await ask(target, "CLUSTER", "SETSLOT", "\(slot)", "IMPORTING", try await id(source))
        try await ask(source, "CLUSTER", "SETSLOT", "\(slot)", "MIGRATING", try await id(target))
    }

    /// Moves the keys that the slot has now.
    package func moveKeys(_ slot: Int, from source: Int, to target: Int) async throws {
        while true {
            let keys = Self.strings(try await ask(source, "CLUSTER", "GETKEYSINSLOT", "\(slot)", "100"))
            guard !keys.isEmpty else { return }
            let place = ["127.0.0.1", "\(portAmongNodes(of: target))", "", "0", "5000", "REPLACE", "KEYS"]
            let reply = try await nodes[source].command(["MIGRATE"] + place + keys)
            guard reply.hasPrefix("+") else { throw PrivateClusterError.refused(reply, ["MIGRATE"]) }
        }
    }

    /// The target serves the slot.
    package func endMove(_ slot: Int, from source: Int, to target: Int) async throws {
        let id = try await id(target)
        try await ask(target, "CLUSTER", "SETSLOT", "\(slot)", "NODE", id)
        // Keys that came to be meanwhile.
        try await moveKeys(slot, from: source, to: target)
        try await ask(source, "CLUSTER", "SETSLOT", "\(slot)", "NODE", id)
        for index in nodes.indices where index != source && index != target && nodes[index].pid != nil {
            // A replica takes no such command, and hears of it.
            _ = try? await nodes[index].command("CLUSTER", "SETSLOT", "\(slot)", "NODE", id)
        }
    }

    /// Has a replica take over from its primary, which hands over in good order, and returns when it has.
    package func failOver(to replica: Int) async throws {
        var asked = ContinuousClock.now - .seconds(60)
        try await until("node \(replica) is a primary") {
            // It has five seconds, and is given up after that.
            if asked.duration(to: .now) > .seconds(6) {
                try await self.ask(replica, "CLUSTER", "FAILOVER")
                asked = .now
            }
            return try await self.isPrimary(replica)
        }
    }

    /// The nodes that are primaries now.
    package func primaries() async throws -> [Int] {
        var found: [Int] = []
        for index in nodes.indices where nodes[index].pid != nil {
            if try await isPrimary(index) { found.append(index) }
        }
        return found
    }

    /// Of a primary of the beginning and its first replica the one that is a primary now.
    package func primary(_ index: Int) async throws -> Int {
        let pair = [index, index + configuration.primaries]
        let primaries = try await primaries()
        guard let found = pair.first(where: { primaries.contains($0) }) else {
            throw PrivateClusterError.timedOut("a primary of \(pair)")
        }
        return found
    }

    /// The other one of these two.
    package func replica(of index: Int) async throws -> Int {
        let count = configuration.primaries
        return try await primary(index) == index ? index + count : index
    }

    /// Starts the nodes that were killed again, empty, each as the replica of the one that took over from it.
    package func rejoin() async throws {
        for index in nodes.indices where nodes[index].pid == nil {
            let others = nodes.indices.filter { nodes[$0].pid != nil }
            guard let other = others.first else { throw PrivateClusterError.timedOut("a node that runs") }
            let primary = try await primary(index % configuration.primaries)
            // It comes back under another name.
            for line in Self.strings(try await ask(other, "CLUSTER", "NODES"))
            where line.contains(":\(nodes[index].port ?? 0)@") {
                for node in others {
                    _ = try? await nodes[node].command("CLUSTER", "FORGET", String(line.prefix { $0 != " " }))
                }
            }
            try await nodes[index].restart()
            try await meet(index, from: other)
            try await until("node \(index) knows the others") {
                let known = try await self.info(index)["cluster_known_nodes"]
                return known == "\(others.count + 1)"
            }
            try await replicate(index, of: primary)
        }
        try await untilWell()
    }

    /// Returns when `condition` holds.
    package func until(_ what: String, _ condition: () async throws -> Bool) async throws {
        let end = ContinuousClock.now.advanced(by: Self.patience)
        while try await !condition() {
            guard ContinuousClock.now < end else { throw PrivateClusterError.timedOut(what) }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}

/// Why a cluster does not do what it was asked to.
package enum PrivateClusterError: Error {
    case refused(String, [String])
    case timedOut(String)
    case uncovered(Int)
}

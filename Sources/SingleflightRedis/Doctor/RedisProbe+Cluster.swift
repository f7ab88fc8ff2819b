package import HiredisClient
import SingleflightLease

/// What the nodes of a cluster say of it.
package struct ClusterFacts: Sendable {
    package struct Primary: Sendable {
        package var address: NodeAddress
        package var slots: Int
        package var replicas: Int
        /// Why it cannot be asked; nil where it answered.
        package var failure: String?
        /// `ok` or `fail`, as this node sees it.
        package var state: String?
        /// As this node knows it: one that is cut off stays behind.
        package var epoch: Int64?

        package init(
            address: NodeAddress,
            slots: Int,
            replicas: Int,
            failure: String? = nil,
            state: String? = nil,
            epoch: Int64? = nil
        ) {
            self.address = address
            self.slots = slots
            self.replicas = replicas
            self.failure = failure
            self.state = state
            self.epoch = epoch
        }
    }

    /// The primaries that serve slots.
    package var primaries: [Primary] = []
    package var uncoveredSlots = 0
    /// The nodes that others take for failed, as their lines in CLUSTER NODES begin with.
    package var failing: [String] = []

    package init() {}
}

extension RedisProbe {
    /// What there is to know of the cluster that the server is a node of; nil if it is none of any, or does not tell
    /// this user.
    func clusterFacts() async throws(LeaseStoreError) -> ClusterFacts? {
        guard let reply = try await ask("CLUSTER", "SLOTS").value, let place = cluster?.seeds.first,
            let topology = ClusterTopology(slots: reply, from: place)
        else { return nil }
        var facts = ClusterFacts()
        facts.uncoveredSlots = topology.uncoveredSlots
        var counts: [NodeAddress: (slots: Int, replicas: Int)] = [:]
        for number in 0..<HashSlot.count {
            guard let slot = HashSlot(number), let owner = topology.owner(of: slot) else { continue }
            counts[owner, default: (0, 0)].slots += 1
        }
        for entry in reply.array ?? [] {
            guard let fields = entry.array, fields.count > 2, let first = fields[0].integer,
                let slot = HashSlot(Int(clamping: first)), let owner = topology.owner(of: slot)
            else { continue }
            counts[owner, default: (0, 0)].replicas = fields.count - 3
        }
        for node in topology.primaries {
            let count = counts[node] ?? (0, 0)
            var primary = ClusterFacts.Primary(address: node, slots: count.slots, replicas: count.replicas)
            await look(at: node, &primary)
            facts.primaries.append(primary)
        }
        let lines = try await ask("CLUSTER", "NODES").value?.string?.split(whereSeparator: \.isNewline) ?? []
        facts.failing = lines.compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count > 2, fields[2].split(separator: ",").contains(where: { $0 == "fail" || $0 == "fail?" })
            else { return nil }
            return String(fields[1].prefix { $0 != "@" })
        }
        return facts
    }

    private func look(at node: NodeAddress, _ primary: inout ClusterFacts.Primary) async {
        guard let client = cluster?.client(of: node) else { return }
        do throws(RedisClientError) {
            let info = Self.fields(
                try await client.send(RedisCommand("CLUSTER", "INFO"), timeout: timeout).string ?? ""
            )
            primary.state = info["cluster_state"]
            primary.epoch = info["cluster_current_epoch"].flatMap { Int64($0) }
        } catch {
            primary.failure = LeaseStoreError(error).message
            return
        }
        // CLUSTER SLOTS leaves replicas out of which no offset is known yet: those of a cluster that has just started.
        if let reply = try? await client.send(RedisCommand("INFO", "replication"), timeout: timeout),
            let connected = Self.fields(reply.string ?? "")["connected_slaves"].flatMap({ Int($0) })
        {
            primary.replicas = connected
        }
    }

    /// The same at the primary that keeps the probe's key and its inbox.
    func atOwner() async throws -> RedisProbe {
        guard let cluster else { return self }
        cluster.start()
        try await cluster.connected(within: timeout)
        guard let node = cluster.node(for: place), let client = cluster.client(of: node) else { return self }
        try await client.connected(within: timeout)
        var probe = self
        probe.client = client
        return probe
    }

    /// A message to a shard channel of our own.
    func shardInbox(_ cluster: RedisClusterClient, slot: HashSlot) async throws -> RedisFacts.Inbox {
        let (messages, continuation) = AsyncStream.makeStream(of: RedisFacts.Inbox?.self)
        let subscriber = ShardSubscriber(cluster: cluster) { event in
            switch event {
            case .message: continuation.yield(nil)
            case .refused(let error): continuation.yield(.refused(error.serverError?.message ?? error.description))
            case .unsupported: continuation.yield(.failed("the server has no shard channels, which came with 7.0"))
            case .resumed, .lost: break
            }
        }
        subscriber.want(shardChannel, slot: slot, tag: 0)
        let result: RedisFacts.Inbox
        do {
            try await subscriber.subscribed(tag: 0, within: timeout)
            result = try await publish("SPUBLISH", shardChannel, messages, continuation)
        } catch {
            continuation.finish()
            var told: RedisFacts.Inbox?
            for await message in messages { told = told ?? message }
            result = told ?? .failed((error as? RedisClientError)?.message ?? "\(error)")
        }
        await subscriber.shutdown()
        return result
    }
}

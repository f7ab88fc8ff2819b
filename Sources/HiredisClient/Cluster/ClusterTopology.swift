/// Which primary serves which slots, as one node told it.
///
/// It says nothing of whether a node can be reached: a node that failed keeps its slots until the cluster gives them to
/// another one.
package struct ClusterTopology: Sendable, Hashable {
    /// The primaries that serve slots, in the order in which they were told.
    package private(set) var primaries: [NodeAddress] = []
    /// The node that told it.
    package let source: NodeAddress
    /// The cluster's epoch as that node knows it: a node that is cut off from the majority stays behind. `nil` where
    /// the user may not ask.
    package var epoch: Int64?

    /// Of each slot the index of its primary, or ``nobody``.
    private var owners: [UInt16]
    private static let nobody = UInt16.max

    init(source: NodeAddress) {
        self.source = source
        owners = Array(repeating: Self.nobody, count: HashSlot.count)
    }

    /// How many slots nobody serves.
    package var uncoveredSlots: Int { owners.count { $0 == Self.nobody } }

    /// Whether nobody serves any slot.
    package var isEmpty: Bool { primaries.isEmpty }

    /// The primary of a slot; `nil` if nobody serves it.
    package func owner(of slot: HashSlot) -> NodeAddress? {
        let index = owners[Int(slot.number)]
        return index == Self.nobody ? nil : primaries[Int(index)]
    }

    /// The node to ask about a slot. Where nobody serves it, the node that told so can say why.
    package func node(for slot: HashSlot) -> NodeAddress { owner(of: slot) ?? source }

    /// Takes note that `node` serves these slots.
    mutating func assign(_ slots: ClosedRange<Int>, to node: NodeAddress) {
        let index = self.index(of: node)
        for slot in slots { owners[slot] = index }
    }

    /// Takes note of a single slot that has moved; `false` if that was known.
    mutating func move(_ slot: HashSlot, to node: NodeAddress) -> Bool {
        guard owner(of: slot) != node else { return false }
        owners[Int(slot.number)] = index(of: node)
        return true
    }

    private mutating func index(of node: NodeAddress) -> UInt16 {
        if let index = primaries.firstIndex(of: node) { return UInt16(index) }
        primaries.append(node)
        return UInt16(primaries.count - 1)
    }
}

// MARK: - Replies

extension ClusterTopology {
    /// Reads the answer to CLUSTER SLOTS; `nil` for what is none. The port is that of the connection's kind, with TLS
    /// or without: the server sees to it.
    package init?(slots reply: RESPValue, from node: NodeAddress) {
        guard let entries = reply.array else { return nil }
        self.init(source: node)
        for entry in entries {
            guard let fields = entry.array, fields.count >= 3,
                let range = Self.slots(fields[0].integer, fields[1].integer),
                let primary = fields[2].array, primary.count >= 2, let port = primary[1].integer,
                let address = Self.address(primary[0].string, port, askedAt: node)
            else { return nil }
            assign(range, to: address)
        }
    }

    /// Reads the answer to CLUSTER SHARDS; `nil` for what is none. Replicas have slots there as well: they do not
    /// count.
    package init?(shards reply: RESPValue, from node: NodeAddress, isEncrypted: Bool) {
        guard let shards = reply.array else { return nil }
        self.init(source: node)
        for shard in shards {
            guard let fields = Self.fields(shard), let bounds = fields["slots"]?.array,
                let nodes = fields["nodes"]?.array, bounds.count.isMultiple(of: 2)
            else { return nil }
            let primaries = nodes.compactMap(Self.fields).filter { $0["role"]?.string == "master" }
            // Where a failed primary stands beside the one that replaced it, the one that is well serves.
            guard let primary = primaries.first(where: { $0["health"]?.string == "online" }) ?? primaries.first
            else { continue }
            let port = isEncrypted ? primary["tls-port"] ?? primary["port"] : primary["port"]
            guard let number = port?.integer,
                let address = Self.address((primary["endpoint"] ?? primary["ip"])?.string, number, askedAt: node)
            else { return nil }
            for index in stride(from: 0, to: bounds.count, by: 2) {
                guard let range = Self.slots(bounds[index].integer, bounds[index + 1].integer) else { return nil }
                assign(range, to: address)
            }
        }
    }

    /// The cluster's epoch, of the answer to CLUSTER INFO.
    package static func epoch(info reply: RESPValue) -> Int64? {
        guard let lines = reply.string?.split(whereSeparator: \.isNewline),
            let line = lines.first(where: { $0.hasPrefix("cluster_current_epoch:") })
        else { return nil }
        return Int64(line.dropFirst("cluster_current_epoch:".count))
    }

    private static func slots(_ first: Int64?, _ last: Int64?) -> ClosedRange<Int>? {
        guard let first, let last, first >= 0, first <= last, last < Int64(HashSlot.count) else { return nil }
        return Int(first)...Int(last)
    }

    private static func address(_ host: String?, _ port: Int64, askedAt node: NodeAddress) -> NodeAddress? {
        guard (1...65_535).contains(port) else { return nil }
        return NodeAddress(host: NodeAddress.host(host, askedAt: node.host), port: Int(port))
    }

    /// A map, which RESP2 writes as a list of names and values.
    private static func fields(_ value: RESPValue) -> [String: RESPValue]? {
        guard let list = value.array, list.count.isMultiple(of: 2) else { return nil }
        var fields: [String: RESPValue] = [:]
        for index in stride(from: 0, to: list.count, by: 2) {
            guard let name = list[index].string else { return nil }
            fields[name] = list[index + 1]
        }
        return fields
    }
}

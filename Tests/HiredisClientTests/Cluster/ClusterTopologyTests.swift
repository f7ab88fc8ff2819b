import Testing

@testable import HiredisClient

extension RESPValue {
    static func text(_ text: String) -> RESPValue { .bulk(Array(text.utf8)) }
}

/// Where keys lie, and what nodes tell of who serves what.
@Suite("Slots, and the table of them")
struct ClusterTopologyTests {
    private static let asked = NodeAddress(host: "seed.example", port: 7000)

    private static func slots(_ entries: (Int64, Int64, RESPValue, Int64)...) -> RESPValue {
        .array(
            entries.map { first, last, host, port in
                .array([.integer(first), .integer(last), .array([host, .integer(port), .text("id"), .array([])])])
            }
        )
    }

    private static func slot(_ number: Int) -> HashSlot { HashSlot(number) ?? HashSlot(of: "") }

    @Test(
        "a key's slot is that of its tag, as the specification has it",
        arguments: [
            ("123456789", 0x31C3), ("foo", 12182), ("{foo}.bar", 12182), ("bar{foo}", 12182), ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015), ("foo{bar}{zap}", 5061), ("", 0),
        ]
    )
    func tags(of key: String, slot: Int) {
        #expect(Int(HashSlot(of: key).number) == slot)
    }

    @Test("all names of a partition lie in one slot")
    func partition() {
        let slot = HashSlot(of: "sf2:{shop:29}:lease:pages:front")
        for name in ["sf2:{shop:29}:wait:pages:front", "sf2:{shop:29}:fence", "sf2:{shop:29}:in:77", "{shop:29}"] {
            #expect(HashSlot(of: name) == slot)
        }
    }

    @Test("the table has a primary for each slot, and counts those without")
    func table() throws {
        let reply = Self.slots((0, 5460, .text("10.0.0.1"), 6379), (5461, 16_000, .text("10.0.0.2"), 6379))
        let topology = try #require(ClusterTopology(slots: reply, from: Self.asked))
        #expect(topology.primaries.map(\.host) == ["10.0.0.1", "10.0.0.2"])
        #expect(topology.owner(of: Self.slot(5460))?.host == "10.0.0.1")
        #expect(topology.owner(of: Self.slot(5461))?.host == "10.0.0.2")
        #expect(topology.owner(of: Self.slot(16_383)) == nil)
        #expect(topology.uncoveredSlots == 383)
        // The node that told so can say why.
        #expect(topology.node(for: Self.slot(16_383)) == Self.asked)
    }

    private static let openHosts: [RESPValue] = [.text(""), .null, .text("?")]

    @Test("a host that is left open is the one that was asked", arguments: openHosts)
    func openHost(host: RESPValue) throws {
        let reply = Self.slots((0, 16_383, host, 7001))
        let topology = try #require(ClusterTopology(slots: reply, from: Self.asked))
        #expect(topology.owner(of: Self.slot(0)) == NodeAddress(host: "seed.example", port: 7001))
    }

    private static let malformedReplies: [RESPValue] = [
        .null, .simpleString("OK"), .array([.integer(1)]), .array([.array([.integer(0), .integer(1)])]),
        slots((5, 1, .text("h"), 1)), slots((0, 16_384, .text("h"), 1)), slots((-1, 4, .text("h"), 1)),
        slots((0, 1, .text("h"), 0)), slots((0, 1, .text("h"), 70_000)),
    ]

    @Test("nobody traps on what is no table", arguments: malformedReplies)
    func malformed(reply: RESPValue) {
        #expect(ClusterTopology(slots: reply, from: Self.asked) == nil)
    }

    private static func map(_ fields: (String, RESPValue)...) -> RESPValue {
        .array(fields.flatMap { [.text($0.0), $0.1] })
    }

    private static let shards = RESPValue.array([
        map(
            ("slots", .array([.integer(0), .integer(100), .integer(200), .integer(300)])),
            (
                "nodes",
                .array([
                    map(
                        ("id", .text("r")),
                        ("port", .integer(7003)),
                        ("tls-port", .integer(8003)),
                        ("ip", .text("10.0.0.3")),
                        ("endpoint", .text("10.0.0.3")),
                        ("role", .text("replica")),
                        ("health", .text("online"))
                    ),
                    map(
                        ("id", .text("f")),
                        ("port", .integer(7001)),
                        ("tls-port", .integer(8001)),
                        ("ip", .text("10.0.0.1")),
                        ("endpoint", .text("10.0.0.1")),
                        ("role", .text("master")),
                        ("health", .text("fail"))
                    ),
                    map(
                        ("id", .text("p")),
                        ("port", .integer(7002)),
                        ("tls-port", .integer(8002)),
                        ("ip", .text("10.0.0.2")),
                        ("endpoint", .text("")),
                        ("role", .text("master")),
                        ("health", .text("online"))
                    ),
                ])
            )
        )
    ])

    @Test(
        "of a shard its primary counts that is well, with the port for the scheme",
        arguments: [(false, 7002), (true, 8002)]
    )
    func shards(isEncrypted: Bool, port: Int) throws {
        let topology = try #require(
            ClusterTopology(shards: Self.shards, from: Self.asked, isEncrypted: isEncrypted)
        )
        let primary = NodeAddress(host: "seed.example", port: port)
        #expect(topology.primaries == [primary])
        #expect(topology.owner(of: Self.slot(250)) == primary)
        #expect(topology.owner(of: Self.slot(150)) == nil)
    }

    @Test("the epoch is read from CLUSTER INFO")
    func epoch() {
        #expect(ClusterTopology.epoch(info: .text("cluster_state:ok\r\ncluster_current_epoch:17\r\n")) == 17)
        #expect(ClusterTopology.epoch(info: .text("cluster_state:ok\r\n")) == nil)
    }

    @Test(
        "an address is split at its last colon",
        arguments: [
            ("10.0.0.1:6379", "10.0.0.1", 6379), ("2001:db8::1:6379", "2001:db8::1", 6379), ("[::1]:7000", "::1", 7000),
            (":7000", "asked", 7000), ("?:7000", "asked", 7000), ("node-1.example:7000", "node-1.example", 7000),
        ]
    )
    func address(text: String, host: String, port: Int) {
        #expect(NodeAddress(text[...], askedAt: "asked") == NodeAddress(host: host, port: port))
    }

    @Test(
        "what is no address is none",
        arguments: ["", "host", "host:", "host:port", "host:0", "host:65536", "host:-1"]
    )
    func noAddress(text: String) {
        #expect(NodeAddress(text[...], askedAt: "asked") == nil)
    }
}

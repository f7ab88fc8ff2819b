import PrivateRedis
import SingleflightLease
import TestSupport
import Testing

@testable import SingleflightRedis

@Suite("Finding leases and outcomes", .usesServer, .timeLimit(.minutes(4)))
struct InspectionTests {
    private func key(_ text: String, group: String = "pages") throws -> FlightKey {
        try FlightKey(group: group, bytes: Array(text.utf8))
    }

    private func withStore(_ body: (PrivateRedis, RedisLeaseStore) async throws -> Void) async throws {
        try await PrivateRedis.with(.init(extraLines: ["enable-debug-command yes"])) { redis in
            let configuration = RedisLeaseStoreConfiguration(namespace: "test", label: "one")
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: configuration) { store in
                try await body(redis, store)
            }
        }
    }

    @Test("leases among many foreign keys are all found, once, in batches whose progress ends at one")
    func batches() async throws {
        try await withStore { redis, store in
            #expect(try await redis.command("DEBUG", "POPULATE", "20000", "foreign", "10") == "+OK\r\n")
            for number in 0..<50 {
                _ = try await store.entered(.make(try key("k \(number)")))
            }
            var found: [String] = []
            var fractions: [Double] = []
            for try await batch in store.leaseBatches() {
                found += batch.leases.map(\.key)
                fractions.append(batch.scannedFraction)
            }
            #expect(found.sorted() == (0..<50).map { "k \($0)" }.sorted())
            #expect(fractions.count > 1)
            #expect(fractions == fractions.sorted())
            #expect(fractions.last == 1)
        }
    }

    @Test("a lease is found once, though Redis tells keys twice when its table shrinks meanwhile")
    func shrinking() async throws {
        let lines = ["enable-debug-command yes", "hz 100"]
        try await PrivateRedis.with(.init(extraLines: lines)) { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                for number in 0..<400 {
                    _ = try await store.entered(.make(try key("\(number)")))
                }
                // Each time the table shrinks, what is in one of its buckets is told again; often that is nothing.
                var batches = store.leaseBatches().makeAsyncIterator()
                var found: [String] = []
                for _ in 0..<12 {
                    try await redis.command("DEBUG", "POPULATE", "8000", "foreign", "10")
                    found += try await batches.next()?.leases.map(\.key) ?? []
                    let script = "for number = 0, 7999 do redis.call('DEL', 'foreign:' .. number) end"
                    try await redis.command("EVAL", script, "0")
                    // Redis resizes when it gets round to it.
                    try await until("a small table") {
                        try await redis.command("DEBUG", "HTSTATS", "0").contains("table size: 512\n")
                    }
                    try await until("the end of the rehashing") {
                        try await !redis.command("DEBUG", "HTSTATS", "0").contains("rehashing target")
                    }
                    found += try await batches.next()?.leases.map(\.key) ?? []
                }
                while let batch = try await batches.next() { found += batch.leases.map(\.key) }
                #expect(found.sorted() == (0..<400).map { "\($0)" }.sorted())
            }
        }
    }

    @Test("a step of a scan shrinks when the server was kept for long, and grows back when it was not")
    func pace() {
        var pace = ScanPace()
        let start = pace.count
        for _ in 0..<50 { pace.took(.microseconds(80)) }
        #expect(pace.count == 1_000)
        pace.took(.microseconds(400))
        #expect(pace.count == 1_000)
        pace.took(.milliseconds(14))
        #expect(pace.count == 500)
        for _ in 0..<50 { pace.took(.milliseconds(14)) }
        #expect(pace.count == 10)
        pace.took(.microseconds(80))
        #expect((11..<start).contains(pace.count))
    }

    @Test("where the user may not ask for the time, leases are found all the same")
    func noTime() async throws {
        let rules = "+@all -time ~* &* >pw"
        try await PrivateRedis.with(.init(users: ["viewer on \(rules)"])) { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                _ = try await store.entered(.make(try key("front")))
            }
            let url = "redis+unix://viewer:pw@\(try #require(redis.socketPath))"
            try await RedisLeaseStore.withConnection(to: url) { store in
                var times: [Duration?] = []
                var found: [String] = []
                for try await batch in store.leaseBatches() {
                    times.append(batch.time)
                    found += batch.leases.map(\.key)
                }
                #expect(found == ["front"])
                #expect(times.allSatisfy { $0 == nil })
            }
        }
    }

    @Test("leases of another namespace are not found")
    func namespaces() async throws {
        try await withStore { redis, store in
            let other = RedisLeaseStoreConfiguration(namespace: "test2", label: "other")
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: other) { other in
                _ = try await other.entered(.make(try key("front")))
                _ = try await store.entered(.make(try key("back")))
                #expect(try await store.leases().map(\.key) == ["back"])
            }
        }
    }

    @Test("an expired lease that nobody claimed is found, and known as such")
    func expired() async throws {
        try await withStore { _, store in
            _ = try await store.entered(.make(try key("front"), lease: .milliseconds(100)))
            try await until("the lease's end") {
                try await store.inspected(try key("front")).lease?.isExpired != false
            }
            #expect(try await store.leases().map(\.lease.isExpired) == [true])
        }
    }

    @Test(
        "everything about one key is found: its lease, its waiters, its outcomes, and nothing of its neighbors",
        arguments: ["front", "a b\n{c}", "👩‍👧", "x*[y]?", "~", String(repeating: "long ", count: 100)]
    )
    func everything(_ text: String) async throws {
        try await withStore { redis, store in
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: store.configuration) { two in
                let first = EnterRequest.make(try key(text))
                _ = try await store.entered(first)
                _ = try await two.entered(.make(try key(text)))
                _ = try await store.completed(
                    CompleteRequest(
                        key: first.key,
                        token: first.token,
                        outcome: .value(Array("value".utf8)),
                        reuse: .zero
                    )
                )
                let second = EnterRequest.make(try key(text))
                _ = try await store.entered(second)
                _ = try await two.entered(.make(try key(text)))
                for neighbor in [text + "x", text + ":x", "x" + text] {
                    _ = try await store.entered(.make(try key(neighbor)))
                }

                for group in [nil, "pages"] {
                    let flights = try await store.flights(of: text, in: group)
                    let flight = try #require(flights.first)
                    #expect(flights.count == 1)
                    #expect(flight.inspection.lease?.token == second.token)
                    #expect(flight.inspection.waiters == [two.inbox])
                    #expect(flight.outcomes.map(\.token) == [first.token])
                    #expect(flight.outcomes.first?.content == .outcome(.value(Array("value".utf8))))
                    #expect(flight.outcomes.first?.isReused == false)
                }
            }
        }
    }

    @Test("a key that several groups know is found in all of them")
    func groups() async throws {
        try await withStore { _, store in
            _ = try await store.entered(.make(try key("front", group: "b")))
            _ = try await store.entered(.make(try key("front", group: "a")))
            #expect(try await store.flights(of: "front").map(\.key.group) == ["a", "b"])
            #expect(try await store.flights(of: "front", in: "b").map(\.key.group) == ["b"])
            #expect(try await store.flights(of: "back", in: "b").isEmpty)
        }
    }

    @Test("a scan's cursor tells how far it is")
    func fraction() {
        #expect(KeyScan().fraction == 0)
        #expect(KeyScan(cursor: 1).fraction == 0.5)
        #expect(KeyScan(cursor: 2).fraction == 0.25)
        #expect(KeyScan(cursor: 3).fraction == 0.75)
        #expect(KeyScan(cursor: nil).fraction == 1)
    }
}

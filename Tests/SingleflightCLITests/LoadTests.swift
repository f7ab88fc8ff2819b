import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@testable import SingleflightCLI

@Suite("Workers under load", .usesServer, .timeLimit(.minutes(4)))
struct LoadTests {
    @Test(
        "an address is a host and a port",
        arguments: [
            ("origin:7000", "origin", 7000), ("0.0.0.0:1", "0.0.0.0", 1), ("[::1]:65535", "::1", 65_535),
        ]
    )
    func addresses(_ text: String, _ host: String, _ port: Int) throws {
        let address = try #require(HostAndPort(argument: text))
        #expect(address.host == host)
        #expect(address.port == port)
    }

    @Test("what is no address is refused", arguments: ["origin", ":1", "h:", "h:65536", "h:-1", "::1:7", "h:x"])
    func noAddresses(_ text: String) {
        #expect(HostAndPort(argument: text) == nil)
    }

    @Test("an event is told once, with the number of callers it mattered to")
    func events() {
        var tally = LoadTally()
        tally.add(.canceled(.leaseExpired), of: "a")
        tally.add(.canceled(.leaseExpired), of: "a")
        #expect(tally.takeEvents() == ["a was canceled: the leader's lease expired (2 callers)"])
        #expect(tally.takeEvents() == [])
        #expect(tally.canceled == 2)
    }

    @Test("a worker that is told to end hands its leases back, long before they would expire")
    func release() async throws {
        try await PrivateRedis.with { redis in
            let origin = try await OriginServer(latency: .zero)
            let client = OriginClient(port: origin.port)
            try await client.hold("page-")
            let worker = try await ChildProcess(
                try Tool.path,
                ["demo-load", "--origin", "127.0.0.1:\(origin.port)", "--keys", "1", "--pause", "0", "--lease", "60"],
                environment: ["SINGLEFLIGHT_URL": redis.url, "SINGLEFLIGHT_NAMESPACE": "test"]
            )
            try await client.waitUntilHeld("page-0")
            #expect(try await Self.leases(redis).map(\.key) == ["page-0"])
            worker.signal(SIGTERM)
            #expect(await worker.exit() == .code(0))
            #expect(try await Self.leases(redis).isEmpty)
            try await origin.close()
        }
    }

    private static func leases(_ redis: PrivateRedis) async throws -> [FoundLease] {
        try await RedisLeaseStore.withConnection(to: redis.url, configuration: .init(namespace: "test")) {
            try await $0.leases()
        }
    }
}

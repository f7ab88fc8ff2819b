import HiredisClient
import SingleflightLease
import Testing

@testable import SingleflightRedis

@Suite("Key names")
struct KeyspaceTests {
    @Test(
        "a key's partition is the CRC-16/XMODEM that other implementations compute, modulo 256",
        arguments: [("pages", Array("front-page".utf8), 29), ("g", [0, 255], 107), ("a.b-c", [], 233)]
            as [(String, [UInt8], Int)]
    )
    func partitions(group: String, bytes: [UInt8], expected: Int) throws {
        #expect(Keyspace.partition(of: try FlightKey(group: group, bytes: bytes)) == expected)
    }

    @Test("the keys of a flight are named as the protocol says")
    func names() throws {
        let names = Keyspace(namespace: "n").names(of: try FlightKey(group: "pages", bytes: Array("front-page".utf8)))
        #expect(names.lease.text == "sf1:{n:29}:lease:pages:front-page")
        #expect(names.wait.text == "sf1:{n:29}:wait:pages:front-page")
        #expect(names.done.text == "sf1:{n:29}:done:pages:front-page:")
        #expect(names.last.text == "sf1:{n:29}:last:pages:front-page")
        #expect(names.fence.text == "sf1:{n:29}:fence")
        #expect(!names.isDigest)
    }
}

extension RedisArgument {
    /// What is written of a name.
    fileprivate var text: String? {
        guard case .joined(let first, let second, let third) = self else { return nil }
        return first + "\(second)" + third
    }
}

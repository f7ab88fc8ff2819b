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
        #expect(names.lease.description == "sf2:{n:29}:lease:pages:front-page")
        #expect(names.wait.description == "sf2:{n:29}:wait:pages:front-page")
        let token = try #require(LeaseToken(String(repeating: "5", count: 32)))
        #expect(names.done(token).description == "sf2:{n:29}:done:pages:front-page:\(token)")
        #expect(names.last.description == "sf2:{n:29}:last:pages:front-page")
        #expect(names.fence.description == "sf2:{n:29}:fence")
        #expect(!names.isDigest)
    }

    /// Bytes that mean something in names, and any others; some keys long, some nearly too long to be a name.
    private static func randomKey(_ random: inout some RandomNumberGenerator) -> [UInt8] {
        let special = Array("{}%~ :\n\r\u{0}*?[]\\%7B".utf8) + [0x7F, 0x80, 0xFF]
        let length = [0, 1, 3, 20, 85, 86, 255, 256, 257, 2000].randomElement(using: &random) ?? 0
        return (0..<length).map { _ in
            Bool.random(using: &random)
                ? special.randomElement(using: &random) ?? 0 : UInt8.random(in: .min ... .max, using: &random)
        }
    }

    /// What Redis Cluster makes the slot of: what stands between the first brace and the next closing one.
    private static func hashTag(of name: String) -> Substring? {
        guard let open = name.firstIndex(of: "{"), let close = name[open...].firstIndex(of: "}") else { return nil }
        return name[name.index(after: open)..<close]
    }

    @Test("whatever a key's bytes, its names are printable, of bounded length, in one slot, and no other key's")
    func anyBytes() throws {
        var random = SystemRandomNumberGenerator()
        var keysByName: [String: [UInt8]] = [:]
        for _ in 0..<1000 {
            let bytes = Self.randomKey(&random)
            let key = try FlightKey(group: "a.b-c_1", bytes: bytes)
            let names = Keyspace(namespace: "n.s").names(of: key)
            let tag = "n.s:\(Keyspace.partition(of: key))"
            let (encoded, isDigest) = Keyspace.encode(bytes)
            #expect(encoded.utf8.count <= 256)
            #expect(encoded.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "{") })
            #expect(!encoded.utf8.contains(UInt8(ascii: "}")))
            for (kind, argument) in [("lease", names.lease), ("wait", names.wait), ("last", names.last)] {
                let name = argument.description
                #expect(name == "sf2:{\(tag)}:\(kind):a.b-c_1:\(encoded)")
                #expect(Self.hashTag(of: name) == tag[...])
            }
            #expect(Self.hashTag(of: names.fence.description) == tag[...])
            #expect(keysByName.updateValue(bytes, forKey: encoded) ?? bytes == bytes, "two keys have one name")
            let decoded = Keyspace.decode(encoded.utf8[...])
            if isDigest {
                #expect(encoded.hasPrefix("~") && encoded.utf8.count == 65 && decoded == nil)
                #expect(bytes.count > 85, "a key is a name as long as that fits")
            } else {
                #expect(decoded == bytes)
            }
        }
    }

    @Test("a key that looks like a digest, or like an encoded one, is no such thing")
    func lookalikes() {
        let digest = Keyspace.encode([UInt8](repeating: 1, count: 300)).text
        #expect(Keyspace.encode(Array(digest.utf8)).text == "%7E" + digest.dropFirst())
        #expect(Keyspace.encode(Array("%7E".utf8)).text == "%257E")
        #expect(Keyspace.encode(Array("a~b".utf8)).text == "a~b")
        let longest = [UInt8](repeating: UInt8(ascii: "x"), count: 256)
        #expect(!Keyspace.encode(longest).isDigest && Keyspace.encode(longest + [1]).isDigest)
    }
}

import HiredisClient
import SingleflightLease
import Support

@testable import SingleflightRedis

/// Keys have names that Redis Cluster, announcements and events can carry, that give the key back, and that no other
/// key has.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = Input(start, count)
    let choice = input.byte()
    let one = input.chunk()
    // Keys that differ in little, or in anything.
    var other = choice & 1 == 0 ? one : input.bytes
    if choice & 1 == 0 {
        let position = input.number(0...max(one.count, 1))
        let byte = input.byte()
        if choice & 2 == 0 || position >= other.count { other.append(byte) } else { other[position] = byte }
    }
    let names = [one, other].map(checkedName)
    expectEqual(names[0] == names[1], one == other, "the names \(names) of \(one) and \(other)")

    // What is no key's name does no harm, and what is one's names that one.
    let foreign = String(decoding: input.bytes, as: UTF8.self)
    if let bytes = Keyspace.decode(foreign.utf8[...]) {
        let encoded = Keyspace.encode(bytes)
        if !encoded.isDigest { expectEqual(Keyspace.decode(encoded.text.utf8[...]), bytes, "another key") }
    }
    if let name = FlightName(foreign[...]) {
        expectEqual("\(name.group):\(name.encodedKey)", foreign, "another name")
        _ = name.text
    }
    return 0
}

private func checkedName(_ bytes: [UInt8]) -> String {
    let key = FlightKey(checkedGroup: "fuzz", bytes: bytes)
    let (text, isDigest) = Keyspace.encode(bytes)
    expect(text.utf8.count <= 256, "a name of \(text.utf8.count) bytes")
    expect(text.utf8.allSatisfy { (0x21...0x7E).contains($0) && !"{}".utf8.contains($0) }, "unfit for a name: \(text)")
    expectEqual(text.hasPrefix("~"), isDigest, "\(text) looks like what it is not")
    expectEqual(Keyspace.decode(text.utf8[...]), isDigest ? nil : bytes, "another key")

    let partition = Keyspace.partition(of: key)
    expect((0..<256).contains(partition), "partition \(partition)")
    let names = Keyspace(namespace: "ns").names(of: key)
    let tag = "sf2:{ns:\(partition)}:"
    for (name, kind) in [(names.lease, "lease"), (names.wait, "wait"), (names.last, "last")] {
        expectEqual(name.description, "\(tag)\(kind):fuzz:\(text)", "another name")
    }
    if let token = LeaseToken("0123456789abcdef0123456789abcdef") {
        expectEqual(names.done(token).description, "\(tag)done:fuzz:\(text):\(token)", "another name")
    }
    expectEqual(names.isDigest, isDigest, "the names do not agree")
    let announced = FlightName(Keyspace.announcedName(of: key)[...])
    expectEqual(announced?.group, "fuzz", "another group")
    expectEqual(announced?.encodedKey, text, "another key")
    return text
}

/// One of the slots of a cluster: each key lies in one, and each slot on one primary.
///
/// The slot follows from the key's name; where that has braces with something in between, from what stands between the
/// first `{` and the next `}` alone. Source: Redis Cluster specification, "Hash tags".
package struct HashSlot: Hashable, Sendable {
    /// How many there are.
    package static let count = 16_384

    package let number: UInt16

    /// `nil` for what is no slot's number.
    package init?(_ number: Int) {
        guard (0..<Self.count).contains(number) else { return nil }
        self.number = UInt16(number)
    }

    /// The slot of a key.
    package init(of key: String) {
        self.init(of: Array(key.utf8)[...])
    }

    init(of key: ArraySlice<UInt8>) {
        var crc: UInt16 = 0
        for byte in Self.tag(of: key) { crc.addCRC16(byte) }
        number = crc % UInt16(Self.count)
    }

    private static func tag(of key: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard let open = key.firstIndex(of: UInt8(ascii: "{")) else { return key }
        let rest = key[(open + 1)...]
        guard let close = rest.firstIndex(of: UInt8(ascii: "}")), close > rest.startIndex else { return key }
        return rest[..<close]
    }
}

extension HashSlot: CustomStringConvertible {
    package var description: String { "\(number)" }
}

extension UInt16 {
    /// CRC-16/XMODEM (polynomial 0x1021), the one that Redis Cluster uses for its slots: of one byte more.
    ///
    /// Not of a sequence: a generic function that another module calls makes an allocation for each byte.
    package mutating func addCRC16(_ byte: UInt8) {
        self = self << 8 ^ UInt16.crc16Steps[Int(self >> 8 ^ UInt16(byte))]
    }

    /// What eight steps of the division make of each leading byte.
    private static let crc16Steps: [UInt16] = (0..<256).map { byte in
        (0..<8).reduce(UInt16(byte) << 8) { rest, _ in rest & 0x8000 != 0 ? rest << 1 ^ 0x1021 : rest << 1 }
    }
}

/// The fuzzer's bytes, taken apart from the front. Where they end, zeros and empty texts follow.
package struct Input {
    private(set) package var rest: ArraySlice<UInt8>

    package init(_ start: UnsafePointer<UInt8>?, _ count: Int) {
        self.rest = Array(UnsafeBufferPointer(start: start, count: count))[...]
    }

    /// All that is left.
    package var bytes: [UInt8] { Array(self.rest) }

    package mutating func byte() -> UInt8 { self.rest.popFirst() ?? 0 }

    /// Eight bytes, most significant first.
    package mutating func word() -> UInt64 { (0..<8).reduce(0) { word, _ in word << 8 | UInt64(self.byte()) } }

    /// A number of the range.
    package mutating func number(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(self.word() % UInt64(range.upperBound - range.lowerBound + 1))
    }

    /// A length of two bytes, and as many bytes, as far as there are.
    package mutating func chunk() -> [UInt8] {
        let count = Int(self.byte()) << 8 | Int(self.byte())
        defer { self.rest = self.rest.dropFirst(count) }
        return Array(self.rest.prefix(count))
    }

    /// A chunk as text; what is not UTF-8 is repaired.
    package mutating func text() -> String { String(decoding: self.chunk(), as: UTF8.self) }

    /// So many lowercase hexadecimal digits.
    package mutating func hexadecimal(_ count: Int) -> String {
        String(decoding: (0..<count).map { _ in Array("0123456789abcdef".utf8)[Int(self.byte() & 0xF)] }, as: UTF8.self)
    }
}

/// Random numbers that depend on nothing but the input, so that an input replays (SplitMix64).
package struct InputGenerator: RandomNumberGenerator {
    private var state: UInt64

    package init(seededBy bytes: some Sequence<UInt8>) {
        // FNV-1a.
        self.state = bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    package mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var word = self.state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}

/// Ways to cut a stream of `bytes`: not at all, after every byte, and at random.
package func slicings(of bytes: [UInt8]) -> [[ArraySlice<UInt8>]] {
    var generator = InputGenerator(seededBy: bytes)
    var random: [ArraySlice<UInt8>] = []
    var rest = bytes[...]
    while !rest.isEmpty {
        let slice = rest.prefix(Int.random(in: 0...min(rest.count, 40), using: &generator))
        random.append(slice)
        rest = rest.dropFirst(slice.count)
    }
    return [[bytes[...]], bytes.indices.map { bytes[$0...$0] }, random]
}

/// How a stream ended that was written to its end: the result of its flight.
///
/// It is stored, and told, with the number of chunks, so that nobody takes a cut for the end.
package struct StreamEnd: Hashable, Sendable {
    /// The chunks in the store.
    package var chunks: Int
    /// The parts in the chunks.
    package var parts: Int
    /// The length of all chunks.
    package var bytes: Int

    package init(chunks: Int = 0, parts: Int = 0, bytes: Int = 0) {
        self.chunks = chunks
        self.parts = parts
        self.bytes = bytes
    }
}

/// Three numbers in decimal, with spaces between them.
package struct StreamEndCodec: FlightCodec {
    package init() {}

    package var identifier: String { "stream/1" }
    package var isQuick: Bool { true }

    package func encode(_ end: StreamEnd) -> [UInt8] {
        Array("\(end.chunks) \(end.parts) \(end.bytes)".utf8)
    }

    package func decode(_ bytes: [UInt8]) throws -> StreamEnd {
        let numbers = bytes.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
            .map { Int(String(decoding: $0, as: UTF8.self)) ?? -1 }
        guard numbers.count == 3, numbers.allSatisfy({ $0 >= 0 }) else {
            throw DistributedGroupError(.decodingFailed, "the end of a stream is not three numbers")
        }
        return StreamEnd(chunks: numbers[0], parts: numbers[1], bytes: numbers[2])
    }
}

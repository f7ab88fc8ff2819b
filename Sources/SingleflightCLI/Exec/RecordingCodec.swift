import SingleflightRedis

/// Recordings as bytes: flags (1: truncated), the status in four bytes, then the chunks, each a stream's number, a
/// length in four bytes, and as many bytes. Numbers are most significant byte first.
package struct RecordingCodec: FlightCodec {
    package static let identifier = "exec/1"
    /// What a chunk takes besides its bytes.
    static let chunkHeader = 5
    private static let header = 5
    /// The longest recording, and room for the envelope around it.
    package static let maximumResultBytes = header + CommandRecording.limit + 1024

    /// Bytes that are no recording.
    package struct Malformed: Error, CustomStringConvertible {
        package var description: String { "the recording is damaged" }
    }

    package init() {}

    package var identifier: String { Self.identifier }

    package func encode(_ recording: CommandRecording) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(recording.chunks.reduce(Self.header) { $0 + Self.chunkHeader + $1.bytes.count })
        bytes.append(recording.isTruncated ? 1 : 0)
        bytes.append(number: UInt32(bitPattern: recording.status))
        for chunk in recording.chunks {
            bytes.append(chunk.stream.rawValue)
            bytes.append(number: UInt32(chunk.bytes.count))
            bytes += chunk.bytes
        }
        return bytes
    }

    package func decode(_ bytes: [UInt8]) throws -> CommandRecording {
        var rest = bytes[...]
        guard let flags = rest.popFirst(), let status = rest.takeNumber() else { throw Malformed() }
        var chunks: [CommandRecording.Chunk] = []
        while let number = rest.popFirst() {
            guard let stream = CommandRecording.Stream(rawValue: number), let count = rest.takeNumber(),
                count <= rest.count
            else { throw Malformed() }
            chunks.append(.init(stream: stream, bytes: Array(rest.prefix(Int(count)))))
            rest = rest.dropFirst(Int(count))
        }
        return CommandRecording(status: Int32(bitPattern: status), chunks: chunks, isTruncated: flags & 1 != 0)
    }
}

extension [UInt8] {
    fileprivate mutating func append(number: UInt32) {
        for shift in [24, 16, 8, 0] { append(UInt8(truncatingIfNeeded: number >> UInt32(shift))) }
    }
}

extension ArraySlice<UInt8> {
    fileprivate mutating func takeNumber() -> UInt32? {
        guard count >= 4 else { return nil }
        defer { removeFirst(4) }
        return prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
    }
}

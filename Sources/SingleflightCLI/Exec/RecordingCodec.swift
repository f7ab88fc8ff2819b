import SingleflightRedis

/// Recordings as bytes: flags (1: truncated), the status in four bytes, the limit in four, the command's digest in
/// eight, the command's name with its length in one byte, then the chunks, each a stream's number, a length in four
/// bytes, and as many bytes. Numbers are most significant byte first.
package struct RecordingCodec: FlightCodec {
    package static let identifier = "exec/2"
    /// What a chunk takes besides its bytes.
    static let chunkHeader = 5
    private static let longestHeader = 18 + 64
    /// The longest recording, and room for the envelope around it.
    package static let maximumResultBytes = longestHeader + CommandRecording.limit + 1024

    /// Bytes that are no recording.
    package struct Malformed: Error, CustomStringConvertible {
        package var description: String { "the recording is damaged" }
    }

    package init() {}

    package var identifier: String { Self.identifier }

    package func encode(_ recording: CommandRecording) -> [UInt8] {
        var bytes: [UInt8] = []
        let chunkBytes = recording.chunks.reduce(0) { $0 + Self.chunkHeader + $1.bytes.count }
        bytes.reserveCapacity(Self.longestHeader + chunkBytes)
        bytes.append(recording.isTruncated ? 1 : 0)
        bytes.append(number: UInt32(bitPattern: recording.status))
        bytes.append(number: UInt32(clamping: recording.limit))
        bytes.append(number: recording.command.digest)
        bytes.append(UInt8(recording.command.name.count))
        bytes += recording.command.name
        for chunk in recording.chunks {
            bytes.append(chunk.stream.rawValue)
            bytes.append(number: UInt32(chunk.bytes.count))
            bytes += chunk.bytes
        }
        return bytes
    }

    package func decode(_ bytes: [UInt8]) throws -> CommandRecording {
        var rest = bytes[...]
        guard let flags = rest.popFirst(), let status = rest.takeNumber(UInt32.self),
            let limit = rest.takeNumber(UInt32.self), let digest = rest.takeNumber(UInt64.self),
            let nameLength = rest.popFirst(), nameLength <= 64, nameLength <= rest.count
        else { throw Malformed() }
        let name = Array(rest.prefix(Int(nameLength)))
        rest = rest.dropFirst(Int(nameLength))
        var chunks: [CommandRecording.Chunk] = []
        while let number = rest.popFirst() {
            guard let stream = CommandRecording.Stream(rawValue: number), let count = rest.takeNumber(UInt32.self),
                count <= rest.count
            else { throw Malformed() }
            chunks.append(.init(stream: stream, bytes: Array(rest.prefix(Int(count)))))
            rest = rest.dropFirst(Int(count))
        }
        return CommandRecording(
            of: CommandIdentity(name: name, digest: digest),
            status: Int32(bitPattern: status),
            limit: Int(limit),
            chunks: chunks,
            isTruncated: flags & 1 != 0
        )
    }
}

/// A run whose command ended with a status other than 0, as an error: the library keeps those apart, so that they are
/// not reused unless that is asked for, and so that a run that failed shows as such.
struct FailedRun: Error, CustomStringConvertible {
    let recording: CommandRecording

    var description: String { "exit status \(recording.status)" }

    /// It crosses processes with all that was printed.
    static var crossing: TypedFailures {
        TypedFailures(
            encode: { ($0 as? FailedRun).map { RecordingCodec().encode($0.recording) } },
            decode: { try? FailedRun(recording: RecordingCodec().decode($0)) }
        )
    }
}

extension [UInt8] {
    fileprivate mutating func append(number: some FixedWidthInteger & UnsignedInteger) {
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }
}

extension ArraySlice<UInt8> {
    fileprivate mutating func takeNumber<Number: FixedWidthInteger & UnsignedInteger>(_ type: Number.Type) -> Number? {
        let length = Number.bitWidth / 8
        guard count >= length else { return nil }
        defer { removeFirst(length) }
        return prefix(length).reduce(0) { $0 << 8 | Number($1) }
    }
}

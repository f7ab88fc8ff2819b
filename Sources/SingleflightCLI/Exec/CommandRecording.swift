/// Told what is kept of a command's output, as it comes.
typealias OutputHandler = @Sendable (ArraySlice<UInt8>, CommandRecording.Stream) -> Void

/// What a command printed and how it ended: the result that `exec` shares.
package struct CommandRecording: Equatable, Sendable {
    /// Where a piece of the output went.
    package enum Stream: UInt8, Sendable {
        case output = 1
        case error = 2
    }

    /// Output to one stream that nothing on the other one interrupted.
    package struct Chunk: Equatable, Sendable {
        package let stream: Stream
        package fileprivate(set) var bytes: [UInt8]
    }

    /// The most that is ever kept, in bytes, the framing of the chunks included.
    package static let limit = 8 << 20

    /// The most that followers are told while the command runs: room for all that is kept, even in pieces of one byte,
    /// which take six with their framing.
    package static let liveLimit = limit * 6

    /// The output in the order in which it was read.
    package private(set) var chunks: [Chunk] = []
    /// Whether there was more than is kept. What is kept is then the beginning of the output.
    package private(set) var isTruncated = false
    /// As a shell tells it: the exit status, or 128 and the number of the signal.
    package var status: Int32 = 0
    package var command: CommandIdentity
    /// The most that is kept of this one.
    package let limit: Int
    private var size = 0

    package init(of command: CommandIdentity = .init(), status: Int32 = 0, limit: Int = Self.limit) {
        self.command = command
        self.status = status
        self.limit = limit
    }

    /// A recording that was made before, to which nothing is added.
    init(of command: CommandIdentity, status: Int32, limit: Int, chunks: [Chunk], isTruncated: Bool) {
        self.init(of: command, status: status, limit: limit)
        self.chunks = chunks
        self.isTruncated = isTruncated
    }

    /// Adds output of `stream`, as much of it as there is room for; how much that was, in bytes. O(`bytes`).
    @discardableResult
    package mutating func append(_ bytes: some Collection<UInt8>, to stream: Stream) -> Int {
        guard !bytes.isEmpty, !isTruncated else { return 0 }
        let continues = chunks.last?.stream == stream
        let room = limit - size - (continues ? 0 : RecordingCodec.chunkHeader)
        let kept = bytes.prefix(max(room, 0))
        isTruncated = kept.count < bytes.count
        guard !kept.isEmpty else { return 0 }
        if continues {
            chunks[chunks.count - 1].bytes += kept
            size += kept.count
        } else {
            chunks.append(Chunk(stream: stream, bytes: Array(kept)))
            size += RecordingCodec.chunkHeader + kept.count
        }
        return kept.count
    }

    package static func == (left: Self, right: Self) -> Bool {
        (left.chunks, left.isTruncated, left.status, left.command, left.limit)
            == (right.chunks, right.isTruncated, right.status, right.command, right.limit)
    }
}

/// Tells two commands apart without telling their arguments, which may be secret.
package struct CommandIdentity: Hashable, Sendable {
    /// The program's name without its folder, at most 64 bytes of it.
    package let name: [UInt8]
    /// Of all words.
    package let digest: UInt64

    package init(name: [UInt8] = [], digest: UInt64 = 0) {
        self.name = Array(name.prefix(64))
        self.digest = digest
    }

    package init(_ words: [[UInt8]]) {
        // FNV-1a, 64 bits. No word holds a zero.
        let digest = words.joined(separator: [0]).reduce(0xCBF2_9CE4_8422_2325 as UInt64) { hash, byte in
            (hash ^ UInt64(byte)) &* 0x100_0000_01B3
        }
        self.init(name: Array((words.first ?? []).split(separator: UInt8(ascii: "/")).last ?? []), digest: digest)
    }

    var shownName: String { ByteText.text(name) }
}

extension CommandRecording {
    /// Prints the output as it was printed first, without as many bytes at its beginning as were printed before. A
    /// stream that nobody reads any more is left out.
    func replay(behind printed: Int = 0) throws {
        var (closed, rest) = (Set<Stream>(), printed)
        for chunk in chunks {
            let bytes = chunk.bytes.dropFirst(rest)
            rest -= chunk.bytes.count - bytes.count
            guard !bytes.isEmpty, !closed.contains(chunk.stream) else { continue }
            do {
                try StandardStream(chunk.stream).write(Array(bytes))
            } catch is OutputClosed {
                closed.insert(chunk.stream)
            }
        }
    }

    /// What has to be said of a recording that is not whole.
    var truncationNote: String {
        "the output is longer than \(ByteSize.text(limit)); who shares it gets its beginning"
    }
}

extension StandardStream {
    init(_ stream: CommandRecording.Stream) {
        switch stream {
        case .output: self = .output
        case .error: self = .error
        }
    }
}

import Synchronization

/// The chunks of a run without a lease: nobody else reads them, and there is no store to keep them.
package final class LocalChunks: Sendable {
    private let chunks = Mutex<[[UInt8]]>([])

    package init() {}

    func append(_ chunk: [UInt8]) {
        self.chunks.withLock { $0.append(chunk) }
    }

    func read(from first: Int) -> ReadReply {
        self.chunks.withLock { chunks in
            ReadReply(chunks: chunks.indices.contains(first) ? [chunks[first]] : [], stored: chunks.count)
        }
    }
}

/// Where the parts of a stream are: which run of the operation made them.
package enum StreamSource: Equatable, Sendable {
    /// In the store, under the token of the flight.
    case led(LeaseToken)
    /// In this process.
    case here(LocalChunks)

    package static func == (left: StreamSource, right: StreamSource) -> Bool {
        switch (left, right) {
        case (.led(let left), .led(let right)): left == right
        case (.here(let left), .here(let right)): left === right
        case (.led, .here), (.here, .led): false
        }
    }
}

import SingleflightCLI

/// How soon a part of a stream is in another process, and how much of one passes in a second.
struct StreamBench {
    struct Passage {
        /// What all readers together got in a second, in MB.
        let rate: Double
        /// The server's processor time for a MB that was written, in ms.
        let serverTime: Double
        /// By how much the memory of the leader's process grew, and that of the readers', in MB.
        let leaderGrowth: Double?
        let readerGrowth: Double?
    }

    let redis: BenchRedis
    let namespace: String

    /// From a part's writing to a reader elsewhere, and from a PUBLISH to a subscriber, in turns.
    func firstPart(
        _ workers: [BenchWorkers],
        _ rounds: Int,
        series: String
    ) async throws -> (part: LatencyHistogram, message: LatencyHistogram) {
        var (part, message) = (LatencyHistogram(), LatencyHistogram())
        for round in 0..<rounds {
            let key = "first-\(series)-\(round)"
            try await begin(key, workers, parts: 1, bytes: 100, readers: 1)
            try workers[0].send(.finish)
            let figures = try await end(workers)
            part.record(nanoseconds: figures.reader.arrived.nanoseconds - figures.reader.handedOver.nanoseconds)

            let channel = "\(namespace):\(key)"
            try workers[1].send(.hear(channel: channel))
            guard case .subscribed = try await workers[1].answer() else { throw BenchWorkers.outOfTurn }
            try await Task.sleep(for: .milliseconds(2))
            try workers[0].send(.tell(channel: channel))
            guard case .told = try await workers[0].answer() else { throw BenchWorkers.outOfTurn }
            try workers[1].send(.report)
            guard case .followed(let start, let end) = try await workers[1].answer() else {
                throw BenchWorkers.outOfTurn
            }
            message.record(nanoseconds: end.nanoseconds - start.nanoseconds)
        }
        return (part, message)
    }

    /// Parts of 64 KiB, as fast as they go.
    func passage(_ workers: [BenchWorkers], megabytes: Int, readers: Int, series: String) async throws -> Passage {
        let parts = megabytes * 16
        try await begin("passage-\(series)", workers, parts: parts, bytes: 65_536, readers: readers)
        let before = try await redis.statistics()
        try workers[0].send(.finish)
        let (leader, reader) = try await end(workers)
        let after = try await redis.statistics()
        guard reader.bytes == parts * 65_536 * readers else {
            throw CommandFailure("readers got \(reader.bytes) bytes of \(parts * 65_536 * readers)")
        }
        let inMegabytes = { (bytes: Int?) in bytes.map { Double($0) / 1e6 } }
        return Passage(
            rate: Double(reader.bytes) / 1e6 / reader.seconds,
            serverTime: (after.cpu - before.cpu) * 1000 / (Double(leader.bytes) / 1e6),
            leaderGrowth: inMegabytes(leader.growth),
            readerGrowth: inMegabytes(reader.growth)
        )
    }

    /// One leads, and the readers wait.
    private func begin(
        _ key: String,
        _ workers: [BenchWorkers],
        parts: Int,
        bytes: Int,
        readers: Int
    ) async throws {
        try workers[0].send(.writeStream(key: key, parts: parts, bytes: bytes))
        guard case .leading = try await workers[0].answer() else { throw BenchWorkers.outOfTurn }
        try workers[1].send(.readStream(key: key, readers: readers))
        try await redis.untilWaiting(1, on: key, namespace: namespace, group: "streams")
        // The time that an operation takes.
        try await Task.sleep(for: .milliseconds(5))
    }

    private func end(_ workers: [BenchWorkers]) async throws -> (leader: StreamFigures, reader: StreamFigures) {
        for worker in workers { try worker.send(.report) }
        guard case .streamed(let leader) = try await workers[0].answer(),
            case .streamed(let reader) = try await workers[1].answer()
        else { throw BenchWorkers.outOfTurn }
        return (leader, reader)
    }
}

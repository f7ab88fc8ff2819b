import SingleflightRedis

/// What `watch` prints, line by line: from events and from passes over the leases, which come side by side.
actor WatchLog {
    private let format: OutputFormat
    private let terminal: Terminal
    private let isWanted: @Sendable (_ group: String, _ key: String) -> Bool
    private var told = ToldFlights()
    private var isFirst = true

    init(format: OutputFormat, terminal: Terminal, isWanted: @escaping @Sendable (String, String) -> Bool) {
        self.format = format
        self.terminal = terminal
        self.isWanted = isWanted
    }

    func beginPass() { told.beginPass() }

    func endPass() { told.endPass() }

    /// Leases that run, which are wanted ones only.
    func found(_ batch: LeaseBatch, at time: Duration) throws {
        for lease in batch.leases where told.find(lease.lease.token) {
            try print(EventLine(lease, at: batch.time ?? time))
        }
    }

    func heard(_ event: LeaseEvent) throws {
        guard isWanted(event.group, event.key), told.hear(event.change, of: event.token) else { return }
        try print(EventLine(event))
    }

    private func print(_ line: EventLine) throws {
        defer { isFirst = false }
        let text =
            switch format {
            case .table: line.text(for: terminal) + "\n"
            case .ndjson: try JSONText.line(line) + "\n"
            case .json: (isFirst ? "[\n" : ",\n") + (try JSONText.line(line))
            }
        try StandardStream.output.write(text)
    }

    /// Makes the JSON that was printed one document.
    func end() throws {
        guard format == .json else { return }
        try StandardStream.output.write(isFirst ? "[]\n" : "\n]\n")
    }
}

import SingleflightRedis
import UnixSignals

/// Shows leases live until somebody quits: what `top` and `leases --watch` have in common.
struct LiveView: Sendable {
    let command: String
    let url: String
    let namespace: String
    let isWanted: @Sendable (_ group: String, _ key: String) -> Bool
    /// From the end of one pass over the leases to the start of the next.
    let interval: Duration
    let terminal: Terminal
    var board: LeaseBoard

    private enum Input: Sendable {
        case leases([LeaseSummary])
        case endOfPass
        case failure(String)
        case event(LeaseEvent)
        /// An announcement was heard after so long, or not at all.
        case wakeUp(Duration?)
        case key(Character)
        case resized
    }

    func run() async throws {
        guard terminal.isInteractive else {
            throw CommandFailure(
                "\(command) draws on a terminal, and standard output is none; `leases --output json` is for scripts",
                status: .usage
            )
        }
        try await WatcherSignals.running {
            let configuration = RedisLeaseStoreConfiguration(namespace: namespace, label: "singleflight")
            try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { store in
                try await TerminalScreen.withScreen { screen in
                    try await show(store, on: screen)
                }
            }
        }
    }

    private func show(_ store: RedisLeaseStore, on screen: TerminalScreen) async throws {
        let (inputs, continuation) = AsyncStream.makeStream(of: Input.self)
        let events = board.activity == nil ? nil : try await store.events()
        let probe = board.activity == nil ? nil : try await store.pushProbe()
        let resizes = await UnixSignalsSequence(trapping: .sigwinch)
        if let keyboard = screen.keyboard {
            TerminalKeys.read(from: keyboard) { continuation.yield(.key($0)) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await scan(store, into: continuation) }
            group.addTask {
                for await _ in resizes { continuation.yield(.resized) }
            }
            if let events {
                group.addTask {
                    for await case .event(let event) in events where isWanted(event.group, event.key) {
                        continuation.yield(.event(event))
                    }
                }
            }
            if let probe {
                group.addTask { await measure(probe, into: continuation) }
            }
            defer { group.cancelAll() }
            try await draw(inputs, on: screen)
        }
    }

    private func measure(_ probe: PushProbe, into inputs: AsyncStream<Input>.Continuation) async {
        while !Task.isCancelled {
            inputs.yield(.wakeUp(await probe.measure()))
            try? await Task.sleep(for: max(interval, .milliseconds(100)))
        }
        await probe.shutDown()
    }

    /// Draws what comes in until somebody quits. Events alone draw nothing: there may be thousands a second.
    private func draw(_ inputs: AsyncStream<Input>, on screen: TerminalScreen) async throws {
        let start = ContinuousClock.now
        var board = board
        var lastDrawn = Duration.zero
        for await input in inputs {
            let now = start.duration(to: .now)
            switch input {
            case .event(let event):
                board.record(event.change, at: now)
                continue
            case .leases(let leases):
                board.add(leases)
                // A first pass may take its time; later ones replace the table when they are whole.
                guard !board.hasScanned, now - lastDrawn > .milliseconds(250) else { continue }
            case .wakeUp(let latency):
                board.measured(latency)
                continue
            case .endOfPass: board.endPass()
            case .failure(let reason): board.fail(reason)
            case .key("\u{1A}"): screen.suspend()
            case .key(let key): guard board.press(key) else { return }
            case .resized: break
            }
            lastDrawn = now
            try screen.draw(board.lines(screen.size, for: terminal, at: now))
        }
    }

    private func scan(_ store: RedisLeaseStore, into inputs: AsyncStream<Input>.Continuation) async {
        while !Task.isCancelled {
            do {
                for try await batch in store.leaseBatches(where: isWanted) where !batch.leases.isEmpty {
                    inputs.yield(.leases(batch.leases.map(LeaseSummary.init)))
                }
                inputs.yield(.endOfPass)
            } catch {
                inputs.yield(.failure(CommandFailure(describing: error).description))
            }
            // Canceled or not, the loop's condition decides.
            try? await Task.sleep(for: interval)
        }
    }
}

import SingleflightRedis
import UnixSignals

/// Shows leases live until somebody quits: what `top` and `leases --watch` have in common.
struct LiveView: Sendable {
    let command: String
    let url: String
    let namespace: String
    let selection: LeaseSelection
    /// From the end of one pass over the leases to the start of the next.
    let interval: Duration
    let terminal: Terminal
    var board: LeaseBoard

    private enum Input: Sendable {
        case leases([LeaseSummary])
        case endOfPass(serverTime: Duration?)
        case failure(String)
        case opened(LeaseSummary, [FlightDetail])
        case notice(String)
        case event(LeaseEvent)
        /// An announcement was heard after so long, or not at all.
        case wakeUp(Duration?)
        case key(TerminalKey)
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
        let (wishes, wish) = AsyncStream.makeStream(of: LeaseBoard.Wish.self)
        let isWanted = selection.isWanted
        let events = board.activity == nil ? nil : try await store.events()
        let probe = board.activity == nil ? nil : try await store.pushProbe()
        let resizes = await UnixSignalsSequence(trapping: .sigwinch)
        if let keyboard = screen.keyboard {
            TerminalKeys.read(from: keyboard) { continuation.yield(.key($0)) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await scan(store, into: continuation) }
            group.addTask {
                for await wish in wishes { await fulfill(wish, by: store, into: continuation) }
            }
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
            try await draw(inputs, on: screen) { wish.yield($0) }
        }
    }

    // MARK: - Wishes

    /// Does what somebody asked for by a key, and tells what came of it.
    private func fulfill(
        _ wish: LeaseBoard.Wish,
        by store: RedisLeaseStore,
        into inputs: AsyncStream<Input>.Continuation
    ) async {
        do {
            switch wish {
            case .nothing, .quit, .suspend: break
            case .open(let lease):
                let flights = try await withStore(of: lease, store) { store in
                    try await store.flights(of: ByteText.bytes(lease.key), in: lease.group).map(FlightDetail.init)
                }
                inputs.yield(.opened(lease, flights))
            case .revoke(let lease):
                inputs.yield(.notice(try await withStore(of: lease, store) { try await Self.revoke(lease, by: $0) }))
            }
        } catch {
            inputs.yield(.notice(CommandFailure(describing: error).description))
        }
    }

    /// A store speaks for one namespace; a lease of another one takes a store of its own.
    private func withStore<Result: Sendable>(
        of lease: LeaseSummary,
        _ store: RedisLeaseStore,
        _ body: @Sendable (RedisLeaseStore) async throws -> Result
    ) async throws -> Result {
        guard let namespace = lease.namespace, namespace != self.namespace else { return try await body(store) }
        let configuration = RedisLeaseStoreConfiguration(namespace: namespace, label: "singleflight")
        return try await RedisLeaseStore.withConnection(to: url, configuration: configuration, body)
    }

    /// Ends the flight that was asked about, and no other; what to tell of it.
    private static func revoke(_ lease: LeaseSummary, by store: RedisLeaseStore) async throws -> String {
        let key = ShellWord.quoted(lease.key)
        let ended = "\(key) ended by itself meanwhile"
        let found = try await FlightLookup(store: store).flight(of: lease.key, in: lease.group)
        guard found.lease.token.description == lease.token else { return ended }
        let request = RevokeRequest(ending: found.lease, of: found.key, reason: "")
        let reply = try await store.answer(to: request).get()
        guard case .revoked(_, let waiters) = reply else { return ended }
        let others = waiters == 0 ? "; nobody waited" : " and \(LeaseRendering.processes(waiters)) that waited"
        return "ended \(key): told its leader \(lease.leader)" + others
    }

    // MARK: - Measuring, drawing, looking

    private func measure(_ probe: PushProbe, into inputs: AsyncStream<Input>.Continuation) async {
        while !Task.isCancelled {
            inputs.yield(.wakeUp(await probe.measure()))
            try? await Task.sleep(for: max(interval, .milliseconds(100)))
        }
        await probe.shutDown()
    }

    /// Draws what comes in until somebody quits. Events alone draw nothing: there may be thousands a second.
    private func draw(
        _ inputs: AsyncStream<Input>,
        on screen: TerminalScreen,
        wish: (LeaseBoard.Wish) -> Void
    ) async throws {
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
            case .endOfPass(let serverTime): board.endPass(at: serverTime)
            case .failure(let reason): board.fail(reason)
            case .opened(let lease, let flights): board.opened(lease, flights)
            case .notice(let notice): board.tell(notice)
            case .key(let key):
                switch board.press(key, page: board.page(screen.size, for: terminal, at: now)) {
                case .quit: return
                case .suspend: screen.suspend()
                case let other: wish(other)
                }
            case .resized: break
            }
            lastDrawn = now
            try screen.draw(board.lines(screen.size, for: terminal, at: now))
        }
    }

    private func scan(_ store: RedisLeaseStore, into inputs: AsyncStream<Input>.Continuation) async {
        while !Task.isCancelled {
            do {
                var time: Duration?
                let batches = store.leaseBatches(
                    inEveryNamespace: selection.allNamespaces,
                    where: selection.isWanted
                )
                for try await batch in batches {
                    time = batch.time ?? time
                    let leases = selection.summaries(of: batch.leases)
                    if !leases.isEmpty { inputs.yield(.leases(leases)) }
                }
                inputs.yield(.endOfPass(serverTime: time))
            } catch {
                inputs.yield(.failure(CommandFailure(describing: error).description))
            }
            // Canceled or not, the loop's condition decides.
            try? await Task.sleep(for: interval)
        }
    }
}

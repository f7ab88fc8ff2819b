import ArgumentParser
import Foundation
import SingleflightRedis

struct WatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Tell which flights run, and then what happens to flights, as it happens.",
        discussion: HelpText.flowing(
            """
            What runs is found by looking for leases, as `singleflight leases` does it, and told as `running`; after a lost
            connection again, for something may have been missed. --no-running leaves that out.

            What happens is told by the processes themselves, if they were told to: by
            RedisLeaseStoreConfiguration.publishesEvents. The demo's do.

            Ctrl-C is how one ends it, with status 0.

            Examples:
              singleflight watch
              singleflight watch 'user:*' --group profiles
              singleflight watch --output ndjson | jq 'select(.event == "expired")'
            """
        )
    )

    @Argument(help: "Which keys: a glob with * ? [a-z].")
    var pattern = "*"

    @Option(help: "Only flights of this group.")
    var group: String?

    @Flag(inversion: .prefixedNo, help: "Tell first which flights run.")
    var running = true

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let group { try GroupName.validate(group) }
    }

    func run() async throws {
        let (url, namespace) = (connection.resolvedURL(), connection.resolvedNamespace())
        try await WatcherSignals.running {
            let configuration = RedisLeaseStoreConfiguration(namespace: namespace, label: "singleflight")
            try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { store in
                try await watch(store)
            }
        }
    }

    private func watch(_ store: RedisLeaseStore) async throws {
        // Before anything is looked for: what happens meanwhile must not be missed.
        let events = try await store.events()
        let messages = output.color.terminal(.error)
        StandardStream.error.note(
            messages.styled("watching namespace \(store.configuration.namespace); Ctrl-C ends", .dim)
        )
        let isWanted: @Sendable (String, String) -> Bool = { [pattern, group] found, key in
            (group ?? found) == found && Glob.matches(key, pattern)
        }
        let log = WatchLog(format: output.output, terminal: output.color.terminal(.output), isWanted: isWanted)
        // Two gaps in a row need one pass.
        let (passes, wantPass) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        try await withThrowingTaskGroup(of: Void.self) { group in
            if running {
                wantPass.yield()
                group.addTask {
                    for await _ in passes { try await pass(over: store.leaseBatches(where: isWanted), into: log) }
                }
            }
            group.addTask { try await listen(to: events, log) { wantPass.yield() } }
            defer { group.cancelAll() }
            try await group.next()
        }
        try await log.end()
    }

    /// Ends when the stream does, or when nobody reads what is printed.
    private func listen(
        to events: AsyncStream<LeaseEventUpdate>,
        _ log: WatchLog,
        onGap: () -> Void
    ) async throws {
        let hint = Task {
            try await Task.sleep(for: Self.patience)
            StandardStream.error.note(
                "no events so far; processes publish them if RedisLeaseStoreConfiguration.publishesEvents is set"
            )
        }
        defer { hint.cancel() }
        var isConnected = false
        for await update in events {
            switch update {
            case .interrupted:
                StandardStream.error.note("the connection to Redis is lost; trying to get it back")
            case .resumed:
                if isConnected {
                    StandardStream.error.note("there was a gap: events may have been missed")
                    onGap()
                }
                isConnected = true
            case .event(let event):
                hint.cancel()
                try await log.heard(event)
            }
        }
    }

    private func pass(over batches: LeaseBatches, into log: WatchLog) async throws {
        await log.beginPass()
        do {
            for try await batch in batches {
                if Task.isCancelled { break }
                try await log.found(batch, at: .seconds(Date().timeIntervalSince1970))
            }
        } catch let error as LeaseStoreError {
            let reason = CommandFailure(describing: error).description
            StandardStream.error.note("which flights run cannot be told: \(reason)")
        }
        await log.endPass()
    }

    /// How long nothing may happen before it is said why that may be.
    private static let patience = Duration.seconds(3)
}

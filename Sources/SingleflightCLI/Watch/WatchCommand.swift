import ArgumentParser
import SingleflightRedis

struct WatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Tell what happens to flights, as it happens.",
        discussion: """
            Processes tell only if they were told to: RedisLeaseStoreConfiguration.publishesEvents. The demo's do.
            Ctrl-C is how one ends it, with status 0.

            Examples:
              singleflight watch
              singleflight watch 'user:*' --group profiles
              singleflight watch --output ndjson | jq 'select(.event == "expired")'
            """
    )

    @Argument(help: "Which keys: a glob with * ? [a-z].")
    var pattern = "*"

    @Option(help: "Only flights of this group.")
    var group: String?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

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
        let events = try await store.events()
        let messages = output.color.terminal(.error)
        StandardStream.error.note(
            messages.styled("watching namespace \(store.configuration.namespace); Ctrl-C ends", .dim)
        )
        let hint = Task {
            try await Task.sleep(for: Self.patience)
            StandardStream.error.note(
                "no events so far; processes publish them if RedisLeaseStoreConfiguration.publishesEvents is set"
            )
        }
        defer { hint.cancel() }
        var printer = EventPrinter(format: output.output, terminal: output.color.terminal(.output))
        var isConnected = false
        for await update in events {
            switch update {
            case .resumed:
                if isConnected { StandardStream.error.note("there was a gap: events may have been missed") }
                isConnected = true
            case .event(let event):
                hint.cancel()
                guard Glob.matches(event.key, pattern), (group ?? event.group) == event.group else { continue }
                try printer.print(EventLine(event))
            }
        }
        try printer.end()
    }

    /// How long nothing may happen before it is said why that may be.
    private static let patience = Duration.seconds(3)
}

/// Prints events one by one, in any format.
private struct EventPrinter {
    let format: OutputFormat
    let terminal: Terminal
    private var isFirst = true

    init(format: OutputFormat, terminal: Terminal) {
        self.format = format
        self.terminal = terminal
    }

    mutating func print(_ line: EventLine) throws {
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

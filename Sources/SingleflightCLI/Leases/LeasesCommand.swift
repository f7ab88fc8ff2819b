import ArgumentParser
import SingleflightRedis

struct LeasesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leases",
        abstract: "List the leases that are held now, and those that have expired but were not claimed since.",
        discussion: """
            A long list comes as the leases are found, in no order; --sort waits for all of them, and keeps them in memory.

            Examples:
              singleflight leases
              singleflight leases 'user:*' --sort waiters
              singleflight leases --watch --interval 2s
              singleflight leases --output json | jq '.[].key'
            """
    )

    @Argument(help: "Which keys: a glob with * ? [a-z], as Redis understands it.")
    var pattern = "*"

    @Option(help: "key, age (oldest first), left (soonest to end first) or waiters (most first).")
    var sort: LeaseOrder?

    @Flag(help: "Show them live on the terminal; q or Ctrl-C quits.")
    var watch = false

    @Option(help: ArgumentHelp("How often to look, with --watch.", valueName: "duration"))
    var interval = DurationArgument(.seconds(1))

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws { try interval.validate("--interval", in: LiveView.intervals) }

    func run() async throws {
        let (url, namespace) = (connection.resolvedURL(), connection.resolvedNamespace())
        let isWanted: @Sendable (String, String) -> Bool = { [pattern] _, key in Glob.matches(key, pattern) }
        if watch {
            let title = "singleflight leases  \(namespace)  \(pattern)"
            return try await LiveView(
                command: "leases --watch",
                url: url,
                namespace: namespace,
                isWanted: isWanted,
                interval: interval.duration,
                terminal: output.color.terminal(.output),
                board: LeaseBoard(title: title, order: sort ?? .key, showsActivity: false)
            ).run()
        }
        let list = LeaseList(format: output.output, terminal: output.color.terminal(.output), order: sort)
        let progress = ProgressLine(terminal: output.color.terminal(.error))
        let configuration = RedisLeaseStoreConfiguration(namespace: namespace, label: "singleflight")
        try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { store in
            try await Self.print(store.leaseBatches(where: isWanted), list, progress)
        }
    }

    private static func print(_ batches: LeaseBatches, _ list: LeaseList, _ progress: ProgressLine) async throws {
        let start = ContinuousClock.now
        var list = list
        for try await batch in batches {
            let text = try list.add(batch.leases.map(LeaseSummary.init), after: start.duration(to: .now))
            if !text.isEmpty {
                progress.clear()
                try StandardStream.output.write(text)
            }
            let percent = Int(batch.scannedFraction * 100)
            progress.update(
                "\(percent) % of the keys seen, \(list.count) leases found" + (list.waitsForAll ? ", to be sorted" : "")
            )
        }
        progress.clear()
        try StandardStream.output.write(try list.end())
    }
}

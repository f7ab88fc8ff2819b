import ArgumentParser
import SingleflightRedis

struct LeasesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leases",
        abstract: "List the leases that are held now, and those that have expired but were not claimed since.",
        discussion: HelpText.flowing(
            """
            A long list comes as the leases are found, in no order; --sort waits for all of them, and keeps them in memory.
            LEFT stands out where two renewals in a row did not come: that lease is about to run out.

            Examples:
              singleflight leases
              singleflight leases 'user:*' --group profiles --sort waiters
              singleflight leases --all-namespaces --older-than 10m
              singleflight leases --watch --interval 2s
              singleflight leases --output json | jq '.[].key'
            """
        )
    )

    @OptionGroup var selection: LeaseSelection

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
        if watch {
            return try await LiveView(
                command: "leases --watch",
                url: url,
                namespace: namespace,
                selection: selection,
                interval: interval.duration,
                terminal: output.color.terminal(.output),
                board: LeaseBoard(
                    title: selection.title("leases", namespace: namespace),
                    server: Redaction.withoutSecrets(url),
                    order: sort ?? .key,
                    showsActivity: false
                )
            ).run()
        }
        let list = LeaseList(format: output.output, terminal: output.color.terminal(.output), order: sort)
        let progress = ProgressLine(terminal: output.color.terminal(.error))
        let configuration = RedisLeaseStoreConfiguration(namespace: namespace, label: "singleflight")
        try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { store in
            let batches = store.leaseBatches(inEveryNamespace: selection.allNamespaces, where: selection.isWanted)
            try await print(batches, list, progress)
        }
    }

    private func print(_ batches: LeaseBatches, _ list: LeaseList, _ progress: ProgressLine) async throws {
        let start = ContinuousClock.now
        var list = list
        for try await batch in batches {
            let text = try list.add(selection.summaries(of: batch.leases), after: start.duration(to: .now))
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

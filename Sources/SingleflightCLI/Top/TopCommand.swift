import ArgumentParser

struct TopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Show the busiest flights, live.",
        discussion: """
            Keys: q or Ctrl-C quits; w, a, l, k sort by waiters, age, time left, key.

            Flights per second, of the last ten seconds, and the share that was coalesced come from events, as
            `singleflight watch` shows them. The share counts from the start of this command: of all processes that asked,
            those which joined a flight instead of starting one.

            Wake-up is measured by this command itself, once in each interval: it sends an announcement to an inbox of its
            own, and takes the time until it hears it; p50 and p99 are of the last hundred. So long after its leader has
            handed a result over would a waiting process on this machine hear of it; what it does then comes on top.

            Examples:
              singleflight top
              singleflight top 'user:*' --interval 500ms
              singleflight top --sort age
            """
    )

    @Argument(help: "Which keys: a glob with * ? [a-z].")
    var pattern = "*"

    @Option(help: "waiters (most first), age (oldest first), left (soonest to end first) or key.")
    var sort = LeaseOrder.waiters

    @Option(help: ArgumentHelp("How often to look.", valueName: "duration"))
    var interval = DurationArgument(.seconds(1))

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var color: ColorOptions

    func validate() throws { try interval.validate("--interval", in: LiveView.intervals) }

    func run() async throws {
        let namespace = connection.resolvedNamespace()
        try await LiveView(
            command: "top",
            url: connection.resolvedURL(),
            namespace: namespace,
            isWanted: { [pattern] _, key in Glob.matches(key, pattern) },
            interval: interval.duration,
            terminal: color.terminal(.output),
            board: LeaseBoard(title: "singleflight top  \(namespace)  \(pattern)", order: sort, showsActivity: true)
        ).run()
    }
}

extension LiveView {
    static let intervals = Duration.milliseconds(50)...Duration.seconds(3_600)
}

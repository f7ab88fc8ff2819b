import ArgumentParser

struct TopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Show the busiest flights, live.",
        discussion: HelpText.flowing(
            """
            Keys:
              w a l k           sort by waiters, age, time left, key
              / text            show only what has the text in its key, group or leader
              arrows, PgUp      choose a flight, and scroll
              Enter             open the chosen flight
              r                 revoke it, after a question
              q, Ctrl-C         quit

            Above the table stand the server, the namespace, the server's time, and how many leases are about to run out:
            two renewals in a row did not come. Flights, failures and the like per second, of the last ten seconds, and the
            share that was coalesced come from events, as `singleflight watch` shows them, of one namespace only. The share
            counts from the start of this command: of all processes that asked, those which joined a flight instead of
            starting one.

            Wake-up is measured by this command itself, once in each interval: it sends an announcement to an inbox of its
            own, and takes the time until it hears it; p50 and p99 are of the last hundred. So long after its leader has
            handed a result over would a waiting process on this machine hear of it; what it does then comes on top.

            Examples:
              singleflight top
              singleflight top 'user:*' --group profiles --interval 500ms
              singleflight top --all-namespaces --older-than 1m --sort age
            """
        )
    )

    @OptionGroup var selection: LeaseSelection

    @Option(help: "waiters (most first), age (oldest first), left (soonest to end first) or key.")
    var sort = LeaseOrder.waiters

    @Option(help: ArgumentHelp("How often to look.", valueName: "duration"))
    var interval = DurationArgument(.seconds(1))

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var color: ColorOptions

    func validate() throws { try interval.validate("--interval", in: LiveView.intervals) }

    func run() async throws {
        let (url, namespace) = (connection.resolvedURL(), connection.resolvedNamespace())
        try await LiveView(
            command: "top",
            url: url,
            namespace: namespace,
            selection: selection,
            interval: interval.duration,
            terminal: color.terminal(.output),
            board: LeaseBoard(
                title: selection.title("top", namespace: namespace),
                server: Redaction.withoutSecrets(url),
                order: sort,
                showsActivity: true
            )
        ).run()
    }
}

extension LiveView {
    static let intervals = Duration.milliseconds(50)...Duration.seconds(3_600)
}

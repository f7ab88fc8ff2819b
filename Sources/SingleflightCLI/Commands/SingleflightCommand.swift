import ArgumentParser

/// The command `singleflight`.
struct SingleflightCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "singleflight",
        abstract: "One flight for each key in the whole cluster: see who leads it, who waits, and try it out.",
        discussion: HelpText.flowing(
            """
            Examples:
              singleflight demo
              singleflight leases --url redis://127.0.0.1:6379
              singleflight show front-page --group pages

            Results go to standard output, messages to standard error.

            \(ExitStatus.help)
            """
        ),
        // The package's version stands here only; a test compares the newest entry of CHANGELOG.md.
        version: "0.2.0",
        subcommands: [
            LeasesCommand.self, NamespacesCommand.self, ShowCommand.self, LastCommand.self, WatchCommand.self,
            TopCommand.self,
            WaitCommand.self, RevokeCommand.self, ExecCommand.self, DoctorCommand.self, BenchCommand.self,
            DemoCommand.self,
            // Not for people: the processes of the demo and of the benchmark.
            OriginCommand.self, WorkerCommand.self, LoadCommand.self, BenchWorkerCommand.self,
        ]
    )
}

import ArgumentParser

struct ShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show everything about the flight of one key.",
        discussion: """
            Ends with status 2 if nobody leads the key.

            Examples:
              singleflight show front-page
              singleflight show front-page --group pages --output json
            """
    )

    @Argument(help: "The key.")
    var key: String

    @Option(help: "The group it belongs to, where several know such a key.")
    var group: String?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await LeaseInspectors.withInspector(
            url: connection.resolvedURL(),
            namespace: connection.resolvedNamespace()
        ) { inspector in
            guard let lease = try await inspector.lease(of: key, in: group) else {
                throw CommandFailure("nobody leads '\(SafeText.escape(key))'", status: .notFound)
            }
            let terminal = output.color.terminal(.output)
            try StandardStream.output.write(LeaseRendering.detail(lease, as: output.output, for: terminal))
        }
    }
}

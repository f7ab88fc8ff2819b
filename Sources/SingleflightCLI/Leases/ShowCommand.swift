import ArgumentParser
import SingleflightRedis

struct ShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show everything about the flights of one key: the lease, who waits, and retained outcomes.",
        discussion: HelpText.flowing(
            """
            Ends with status 2 if nobody leads the key and no outcome of it is retained. --payload prints the retained result
            and nothing else, as its codec wrote it: JSON, bytes, or what the group's own codec makes.

            Examples:
              singleflight show front-page
              singleflight show front-page --group pages --output json
              singleflight show front-page --payload | jq .
            """
        )
    )

    @Argument(help: "The key.")
    var key: String

    @Option(help: "The group it belongs to, where several know such a key.")
    var group: String?

    @Flag(help: "Print the retained result, as it is. Of several the one that is retained longest.")
    var payload = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let flights = try await connection.withStore { [key, group] store in
            try await store.flights(of: ByteText.bytes(key), in: group)
        }
        if payload {
            return try printPayload(of: flights)
        }
        guard !flights.isEmpty else { throw CommandFailure.nobodyLeads(key) }
        let details = flights.map(FlightDetail.init)
        try StandardStream.output.write(
            FlightRendering.text(details, as: output.output, for: output.color.terminal(.output))
        )
    }

    private func printPayload(of flights: [FlightInspection]) throws {
        let retained = flights.compactMap { flight in
            flight.outcomes.lazy.compactMap(Self.result).first.map { (group: flight.key.group, result: $0) }
        }
        guard let first = retained.first else {
            throw CommandFailure("no result of \(ShellWord.quoted(key)) is retained", status: .notFound)
        }
        guard retained.count == 1 else {
            let groups = retained.map(\.group).joined(separator: ", ")
            throw CommandFailure(
                "several groups have a result of \(ShellWord.quoted(key)): choose one of \(groups) by --group",
                status: .usage
            )
        }
        try StandardStream.output.write(first.result)
    }

    /// The value as its codec wrote it; nil for what is no value.
    private static func result(_ outcome: RetainedOutcome) -> [UInt8]? {
        guard case .outcome(.value(let bytes)) = outcome.content else { return nil }
        return StoredPayload(bytes: bytes)?.body
    }
}

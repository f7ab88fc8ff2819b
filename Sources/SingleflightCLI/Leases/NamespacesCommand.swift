import ArgumentParser
import SingleflightRedis

struct NamespacesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "namespaces",
        abstract: "List the namespaces that have anything in Redis.",
        discussion: HelpText.flowing(
            """
            A namespace is there as long as one of its keys is: a lease, an outcome that is retained, a fence, which lives
            for seven days. KEYS counts all of them. It takes one pass over the names of all keys in Redis.

            Examples:
              singleflight namespaces
              singleflight namespaces --output json | jq -r '.[].namespace'
            """
        )
    )

    private struct Row: Codable {
        var namespace: String
        var leases: Int
        var keys: Int
    }

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let found = try await connection.withStore { try await $0.namespaces() }
        let rows = found.map { Row(namespace: $0.name, leases: $0.leases, keys: $0.keys) }
        let text =
            switch output.output {
            case .json: try JSONText.document(rows)
            case .ndjson: try JSONText.lines(rows)
            case .table: Self.table(rows).render(for: output.color.terminal(.output))
            }
        try StandardStream.output.write(text)
    }

    private static func table(_ rows: [Row]) -> Table {
        var table = Table([.init("NAMESPACE", isFlexible: true), .init("LEASES", .right), .init("KEYS", .right)])
        for row in rows { table.append([.init(row.namespace, .bold), "\(row.leases)", "\(row.keys)"]) }
        return table
    }
}

import ArgumentParser

struct LeasesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leases",
        abstract: "List the leases that are held now.",
        discussion: """
            Examples:
              singleflight leases
              singleflight leases 'user:*' --sort waiters
              singleflight leases --output json | jq '.[].key'
            """
    )

    enum Order: String, CaseIterable, ExpressibleByArgument {
        case key, age, left, waiters
    }

    @Argument(help: "Which keys: a glob with * ? [a-z], as Redis understands it.")
    var pattern = "*"

    @Option(help: "key, age (oldest first), left (soonest to end first) or waiters (most first).")
    var sort = Order.key

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await LeaseInspectors.withInspector(
            url: connection.resolvedURL(),
            namespace: connection.resolvedNamespace()
        ) { inspector in
            let leases = Self.sorted(try await inspector.leases(matching: pattern), by: sort)
            let terminal = output.color.terminal(.output)
            try StandardStream.output.write(LeaseRendering.list(leases, as: output.output, for: terminal))
        }
    }

    static func sorted(_ leases: [LeaseSummary], by order: Order) -> [LeaseSummary] {
        leases.sorted { left, right in
            switch order {
            case .age where left.age != right.age: left.age > right.age
            case .left where left.remaining != right.remaining: left.remaining < right.remaining
            case .waiters where left.waiters != right.waiters: left.waiters > right.waiters
            default: (left.key, left.group) < (right.key, right.group)
            }
        }
    }
}

import ArgumentParser
import SingleflightRedis

/// Which leases a command is about.
struct LeaseSelection: ParsableArguments {
    @Argument(help: "Which keys: a glob with * ? [a-z].")
    var pattern = "*"

    @Option(help: "Only leases of this group.")
    var group: String?

    @Option(help: ArgumentHelp("Only flights that have lasted longer than this.", valueName: "duration"))
    var olderThan: DurationArgument?

    @Flag(name: [.customShort("A"), .long], help: "Leases of every namespace, not only of one.")
    var allNamespaces = false

    func validate() throws {
        if let group { try GroupName.validate(group) }
        try olderThan?.validate("--older-than", in: .zero...Duration.seconds(10 * 365 * 86_400))
    }

    /// Whether a lease of this name is meant, before anything more is read of it.
    var isWanted: @Sendable (_ group: String, _ key: String) -> Bool {
        { [pattern, group] found, key in (group ?? found) == found && Glob.matches(key, pattern) }
    }

    func summaries(of found: [FoundLease]) -> [LeaseSummary] {
        let leases = found.map { LeaseSummary($0, isNamespaceTold: allNamespaces) }
        guard let olderThan else { return leases }
        return leases.filter { $0.age > olderThan.duration }
    }

    /// For the heading of a live view.
    func title(_ command: String, namespace: String) -> [String] {
        var parts = ["singleflight \(command)", allNamespaces ? "all namespaces" : namespace, pattern]
        if let group { parts.append("group \(group)") }
        if let olderThan { parts.append("older than \(DurationText.describe(olderThan.duration))") }
        return parts
    }
}

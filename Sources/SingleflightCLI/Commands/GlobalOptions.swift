/// Options that every command knows may stand before the command's name as well.
enum GlobalOptions {
    private static let names: Set<String> = ["--url", "--namespace", "--context", "--output", "--color"]

    /// `--url X leases` as `leases --url X`: the parser wants options after the command they belong to.
    static func moved(_ arguments: [String]) -> [String] {
        var leading: [String] = []
        var rest = arguments[...]
        while let first = rest.first, let option = name(of: first) {
            let length = option == first ? 2 : 1
            guard rest.count > length else { return arguments }
            leading += rest.prefix(length)
            rest = rest.dropFirst(length)
        }
        guard let command = rest.popFirst(), !command.hasPrefix("-") else { return arguments }
        return [command] + leading + rest
    }

    private static func name(of argument: String) -> String? {
        names.first { argument == $0 || argument.hasPrefix($0 + "=") }
    }
}

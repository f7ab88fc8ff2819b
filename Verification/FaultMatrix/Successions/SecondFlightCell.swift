/// A flight that another of the same key follows, for which nobody waits: how the first one ends.
package struct SecondFlightCell: Hashable, Sendable, CustomStringConvertible {
    package enum End: String, Sendable, CaseIterable {
        /// Its result is accepted and announced.
        case completed
        /// Somebody ends it from outside.
        case revoked
        /// Its leader's process shuts down; by takeover, whoever waited completes it.
        case shutDown
    }

    package var end: End
    package var rule: MatrixCell.Rule

    package init(end: End, rule: MatrixCell.Rule) {
        self.end = end
        self.rule = rule
    }

    /// Reads the name that ``description`` gives; `nil` if no cell is called so.
    package init?(_ name: String) {
        let parts = name.split(separator: ".").map(String.init)
        guard parts.count == 3, parts[0] == "second", let end = End(rawValue: parts[1]),
            let rule = MatrixCell.Rule(rawValue: parts[2])
        else { return nil }
        self.init(end: end, rule: rule)
    }

    package var description: String { "second.\(self.end.rawValue).\(self.rule.rawValue)" }

    /// Every cell.
    package static var all: [SecondFlightCell] {
        MatrixCell.Rule.allCases.flatMap { rule in End.allCases.map { SecondFlightCell(end: $0, rule: rule) } }
    }
}

import FaultProxy

/// A leader's request that arrives when its lease is over: another leads by then, for whom a third waits.
package struct OvertakenCell: Hashable, Sendable, CustomStringConvertible {
    /// What keeps the leader from knowing.
    package enum Blow: String, Sendable, CaseIterable {
        /// SIGKILL: the request is all that is left of it.
        case kill
        /// SIGSTOP until the request was carried out.
        case pause
    }

    package static let points: [ProtocolPoint] = [.renew, .complete, .release, .fence]

    package var point: ProtocolPoint
    package var blow: Blow
    package var rule: MatrixCell.Rule

    /// Reads the name that ``description`` gives; `nil` if no cell is called so.
    package init?(_ name: String) {
        let parts = name.split(separator: ".").map(String.init)
        guard parts.count == 4, parts[0] == "overtaken", let point = ProtocolPoint(rawValue: parts[1]),
            Self.points.contains(point), let blow = Blow(rawValue: parts[2]),
            let rule = MatrixCell.Rule(rawValue: parts[3])
        else { return nil }
        self.init(point: point, blow: blow, rule: rule)
    }

    package init(point: ProtocolPoint, blow: Blow, rule: MatrixCell.Rule) {
        self.point = point
        self.blow = blow
        self.rule = rule
    }

    package var description: String {
        "overtaken.\(self.point.rawValue).\(self.blow.rawValue).\(self.rule.rawValue)"
    }

    /// Every cell.
    package static var all: [OvertakenCell] {
        MatrixCell.Rule.allCases.flatMap { rule in
            Self.points.flatMap { point in
                Blow.allCases.map { OvertakenCell(point: point, blow: $0, rule: rule) }
            }
        }
    }
}

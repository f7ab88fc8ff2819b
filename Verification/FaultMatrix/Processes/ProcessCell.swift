import FaultProxy

/// What happens to a real process, at a point of its flight that it is held at.
package struct ProcessCell: Hashable, Sendable, CustomStringConvertible {
    /// What the process is sent.
    package enum Blow: String, Sendable, CaseIterable {
        /// SIGKILL.
        case kill
        /// SIGTERM, on which it shuts down in good order.
        case terminate
        /// SIGSTOP, and SIGCONT after a moment, half a lease, a lease and a half, more than lease and grace.
        case pauseShortly, pauseHalfTheLease, pausePastTheLease, pausePastTheGrace

        var pause: Duration? {
            switch self {
            case .kill, .terminate: nil
            case .pauseShortly: .milliseconds(100)
            case .pauseHalfTheLease: MatrixTimes.lease / 2
            case .pausePastTheLease: MatrixTimes.lease * 1.5
            case .pausePastTheGrace: MatrixTimes.lease + MatrixTimes.grace + .milliseconds(300)
            }
        }
    }

    /// Where the process's request is when the blow falls. It goes on afterwards.
    package enum Moment: String, Sendable, CaseIterable {
        /// On its way to the server: it is carried out after the blow.
        case before
        /// Carried out; the reply is on its way.
        case after

        var fault: Fault {
            switch self {
            case .before: .holdRequest
            case .after: .holdReply
            }
        }
    }

    package static let points: [ProtocolPoint] = [
        .acquire, .enter, .renew, .complete, .release, .poll, .leave, .fence, .subscribe,
    ]

    package var point: ProtocolPoint
    package var moment: Moment
    package var blow: Blow
    package var rule: MatrixCell.Rule

    package init(point: ProtocolPoint, moment: Moment, blow: Blow, rule: MatrixCell.Rule) {
        self.point = point
        self.moment = moment
        self.blow = blow
        self.rule = rule
    }

    /// Reads the name that ``description`` gives; `nil` if no cell is called so.
    package init?(_ name: String) {
        let parts = name.split(separator: ".").map(String.init)
        guard parts.count == 4, let point = ProtocolPoint(rawValue: parts[0]), Self.points.contains(point),
            let moment = Moment(rawValue: parts[1]), let blow = Blow(rawValue: parts[2]),
            let rule = MatrixCell.Rule(rawValue: parts[3])
        else { return nil }
        self.init(point: point, moment: moment, blow: blow, rule: rule)
    }

    /// On which of the process's connections the point's frame travels.
    var connection: FaultProxy.Connection { self.point == .subscribe ? .inbox : .command }

    package var description: String {
        "\(self.point.rawValue).\(self.moment.rawValue).\(self.blow.rawValue).\(self.rule.rawValue)"
    }

    /// Every cell.
    package static var all: [ProcessCell] {
        MatrixCell.Rule.allCases.flatMap { rule in
            Self.points.flatMap { point in
                Moment.allCases.flatMap { moment in
                    Blow.allCases.map { ProcessCell(point: point, moment: moment, blow: $0, rule: rule) }
                }
            }
        }
    }
}

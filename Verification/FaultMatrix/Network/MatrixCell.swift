package import FaultProxy
import SingleflightLease

/// One trouble of one flight: what goes wrong, at which point, with which of a process's connections, under which rule.
package struct MatrixCell: Hashable, Sendable, CustomStringConvertible {
    /// What becomes of a flight whose leader is lost.
    package enum Rule: String, Sendable, CaseIterable {
        case cancel, takeOver

        var leaderLoss: LeaderLossPolicy {
            switch self {
            case .cancel: .cancel
            case .takeOver: .takeOver(attempts: 2)
            }
        }
    }

    package var point: ProtocolPoint
    package var connection: FaultProxy.Connection
    package var fault: Fault
    package var rule: Rule

    package init(point: ProtocolPoint, connection: FaultProxy.Connection, fault: Fault, rule: Rule) {
        self.point = point
        self.connection = connection
        self.fault = fault
        self.rule = rule
    }

    /// Reads the name that ``description`` gives; `nil` if no cell is called so.
    package init?(_ name: String) {
        let parts = name.split(separator: ".").map(String.init)
        guard parts.count == 4, let point = ProtocolPoint(rawValue: parts[0]),
            let connection = FaultProxy.Connection(rawValue: parts[1]), let fault = Fault(rawValue: parts[2]),
            let rule = Rule(rawValue: parts[3])
        else { return nil }
        self.init(point: point, connection: connection, fault: fault, rule: rule)
    }

    package var description: String {
        "\(self.point.rawValue).\(self.connection.rawValue).\(self.fault.rawValue).\(self.rule.rawValue)"
    }

    /// Every cell.
    package static var all: [MatrixCell] {
        Rule.allCases.flatMap { rule in
            ProtocolPoint.allCases.flatMap { point in
                FaultProxy.Connection.allCases.flatMap { connection in
                    Fault.ofNetworks.map { MatrixCell(point: point, connection: connection, fault: $0, rule: rule) }
                }
            }
        }
    }
}

/// The times of a cell, short so that many fit into a minute, and long enough for a busy machine.
package enum MatrixTimes {
    package static let lease = Duration.milliseconds(900)
    package static let grace = Duration.milliseconds(900)
    package static let commandTimeout = Duration.milliseconds(250)
    package static let faults = FaultTimes(
        latency: .milliseconds(150),
        lateness: .milliseconds(350),
        jitter: .milliseconds(30),
        outage: .milliseconds(1350)
    )
    /// I7: within this time after the trouble is over every caller knows, even if every message is lost.
    package static let bound = lease + grace + lease / 10 + commandTimeout * 2
    /// For a machine that has other work: whoever takes longer than both counts as hanging.
    package static let allowance = Duration.seconds(5)
}

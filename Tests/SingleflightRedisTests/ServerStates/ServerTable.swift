import Foundation
import SingleflightRedis
import Synchronization

/// What was seen in each state, as the table of docs/reliability.md. Written to the file that the environment variable
/// `SINGLEFLIGHT_SERVER_TABLE` names, if it is set.
final class ServerTable: Sendable {
    static let shared = ServerTable()

    private struct Row {
        var brief: ServerTrial?
        var lasting: ServerTrial?
    }

    private let rows = Mutex<[String: Row]>([:])
    private let path = ProcessInfo.processInfo.environment["SINGLEFLIGHT_SERVER_TABLE"]

    /// Adds what was seen; the file holds all that was seen so far.
    func add(_ trial: ServerTrial, of state: ServerState, _ stay: ServerState.Stay) {
        guard let path else { return }
        let text = self.rows.withLock { rows in
            switch stay {
            case .brief: rows[state.name, default: Row()].brief = trial
            case .lasting: rows[state.name, default: Row()].lasting = trial
            }
            return Self.text(rows)
        }
        try? Data(text.utf8).write(to: URL(filePath: path), options: .atomic)
    }

    private static func text(_ rows: [String: Row]) -> String {
        var lines = [
            "| the server | a new call | a leader with a result | its follower | a leader without | its follower | well again |",
            "|---|---|---|---|---|---|---|",
        ]
        for state in ServerStates.all {
            guard let row = rows[state.name] else { continue }
            let (brief, lasting) = (row.brief, row.lasting)
            let recovery = [brief, lasting].compactMap { $0?.recovery }.max() ?? .zero
            let cells = [
                state.name, cell(lasting?.newcomer), cell(brief?.leader), cell(brief?.follower), cell(lasting?.leader),
                cell(lasting?.follower), seconds(recovery),
            ]
            lines.append("| " + cells.joined(separator: " | ") + " |")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func cell(_ told: ServerTrial.Told?) -> String {
        guard let told else { return "" }
        return "\(told.answer.short), \(seconds(told.after))"
    }

    /// What came before the moment from which it is counted is no time at all.
    private static func seconds(_ duration: Duration) -> String {
        let hundredths = Int((max(duration, .zero) / .milliseconds(10)).rounded())
        let fraction = hundredths % 100
        return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction) s"
    }
}

extension Answer {
    /// Without the message.
    fileprivate var short: String {
        switch self {
        case .value: "value"
        case .canceled(let reason): "*\(reason)*"
        case .failed(let error): "`\(error.code)`" + (error.serverCode.map { " (\($0))" } ?? "")
        case .unexpected(let what): what
        }
    }
}

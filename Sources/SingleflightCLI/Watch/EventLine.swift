import Foundation
import SingleflightRedis

/// An event as `watch` prints it.
package struct EventLine: Codable, Equatable, Sendable {
    /// What happened, in one word.
    package var event: String
    package var group: String
    package var key: String
    package var token: String
    /// The label of the process that leads.
    package var leader: String
    /// The server's time, since 1970.
    package var timeMilliseconds: Int64
    /// How long the flight had lasted.
    package var ageMilliseconds: Int64
    package var waiters: Int
    package var renewals: Int
    package var attempt: Int
    /// Why, by whom, or what the leader said of its progress.
    package var detail: String?
    /// The share of the work that is done, from 0 to 1, if the leader said.
    package var fraction: Double?
}

extension EventLine {
    init(_ event: LeaseEvent) {
        let (word, detail) = Self.describe(event)
        self.init(
            event: word,
            group: event.group,
            key: event.key,
            token: event.token.description,
            leader: event.note.label,
            timeMilliseconds: event.time.wholeMilliseconds,
            ageMilliseconds: event.note.age.wholeMilliseconds,
            waiters: event.waiters,
            renewals: event.note.renewals,
            attempt: event.attempt,
            detail: detail,
            fraction: event.change == .renewed ? event.note.progress?.fraction : nil
        )
    }

    /// A flight that was found while it runs: no event, but told like one.
    init(_ found: FoundLease, at time: Duration) {
        let lease = found.lease
        self.init(
            event: "running",
            group: found.group,
            key: found.key,
            token: lease.token.description,
            leader: lease.note.label,
            timeMilliseconds: time.wholeMilliseconds,
            ageMilliseconds: lease.note.age.wholeMilliseconds,
            waiters: found.waiterCount,
            renewals: lease.note.renewals,
            attempt: lease.attempt,
            detail: lease.isExpired ? "its lease has expired" : lease.note.progress?.text,
            fraction: lease.isExpired ? nil : lease.note.progress?.fraction
        )
    }

    private static func describe(_ event: LeaseEvent) -> (word: String, detail: String?) {
        switch event.change {
        case .acquired: ("acquired", nil)
        case .takenOver(let lost): ("taken over", "from \(lost.description.prefix(8))")
        case .renewed: ("renewed", event.note.progress?.text)
        case .joined(let inbox): ("joined", "inbox \(inbox.description.prefix(8))")
        case .left(let inbox): ("left", "inbox \(inbox.description.prefix(8))")
        case .completed: ("completed", nil)
        case .failed(let failure): ("failed", failure.map { "\($0.type): \($0.message)" })
        case .released: ("released", event.waiters > 0 ? "for another process to take over" : nil)
        case .canceled(.leaseExpired): ("expired", nil)
        case .canceled(.supersededTooOften): ("expired", "taken over too often")
        case .canceled(.leaderShutDown): ("canceled", "the leader shut down")
        case .canceled(.leaderLeft): ("canceled", "the leader left")
        case .canceled(.revoked(let by, let reason)): ("revoked", "by \(by)" + (reason.isEmpty ? "" : ": \(reason)"))
        }
    }

    /// One line: local time, what happened to which flight, and the rest; every field is made safe to print.
    package func text(for terminal: Terminal) -> String {
        let style: TextStyle? =
            switch event {
            case "completed": .good
            case "failed", "expired", "canceled", "revoked": .bad
            case "running", "acquired", "taken over": .bold
            case "renewed", "joined", "left": .dim
            default: nil
            }
        var facts: [String] = []
        if ageMilliseconds > 0 {
            let age = terminal.duration(.milliseconds(ageMilliseconds))
            facts.append(event == "running" ? "for \(age)" : "after \(age)")
        }
        if waiters > 0 { facts.append(waiters == 1 ? "1 waiter" : "\(waiters) waiters") }
        if attempt > 0 { facts.append("takeover \(attempt)") }
        if let detail { facts.append(ProgressBar.text(fraction, detail, for: terminal)) }
        let word = event.padding(toLength: 10, withPad: " ", startingAt: 0)
        return [
            terminal.styled(ClockText.timeWithMilliseconds(.milliseconds(timeMilliseconds)), .dim),
            terminal.styled(word, style),
            terminal.safe("\(group):\(key)"), terminal.styled(String(token.prefix(8)), .dim), terminal.safe(leader),
            terminal.safe(facts.joined(separator: ", ")),
        ].filter { !$0.isEmpty }.joined(separator: "  ")
    }
}

/// How everything about one key is printed.
package enum FlightRendering {
    package static func text(_ flights: [FlightDetail], as format: OutputFormat, for terminal: Terminal) throws
        -> String
    {
        switch format {
        case .json: try JSONText.document(flights)
        case .ndjson: try JSONText.lines(flights)
        case .table: flights.map { card($0, for: terminal) }.joined(separator: "\n")
        }
    }

    /// The card as lines that fit the terminal, each made safe to print.
    static func lines(_ flight: FlightDetail, for terminal: Terminal) -> [String] {
        let room = max(1, (terminal.width ?? .max) - nameWidth)
        return rows(flight, for: terminal).flatMap { name, value, style in
            SafeText.pieces(of: terminal.safe(value), to: room).enumerated().map { index, piece in
                padded(index == 0 ? name : "") + terminal.styled(piece, style)
            }
        }
    }

    private static let nameWidth = 12

    private static func padded(_ name: String) -> String {
        name + String(repeating: " ", count: nameWidth - name.count)
    }

    /// Lines as long as they are: a token that is copied from a terminal is whole.
    private static func card(_ flight: FlightDetail, for terminal: Terminal) -> String {
        rows(flight, for: terminal).map { name, value, style in
            padded(name) + terminal.styled(terminal.safe(value), style) + "\n"
        }.joined()
    }

    private static func rows(
        _ flight: FlightDetail,
        for terminal: Terminal
    ) -> [(name: String, value: String, style: TextStyle?)] {
        var lines: [(name: String, value: String, style: TextStyle?)] = [
            ("key", ShellWord.plain(flight.key), .bold), ("group", flight.group, nil),
        ]
        if let lease = flight.lease {
            let left = LeaseRendering.left(lease, terminal)
            lines += [
                ("leader", lease.leader, nil), ("token", lease.token, nil),
                ("age", terminal.duration(lease.age), nil), ("lease left", left.text, left.style),
                ("renewals", "\(lease.renewals)", nil), ("waiters", "\(lease.waiters)", nil),
            ]
            lines += flight.waiting.map { ("", "inbox \($0)", .dim) }
            lines.append(("progress", lease.progress ?? "-", nil))
            for (name, value) in (lease.trace ?? [:]).sorted(by: { $0.key < $1.key }) {
                lines.append(("trace", "\(name) \(value)", .dim))
            }
        } else {
            lines.append(("leader", "nobody", .dim))
        }
        for outcome in flight.outcomes {
            lines.append((outcome.reused ? "reused" : "retained", describe(outcome, for: terminal), nil))
            lines.append(("", "token \(outcome.token)", .dim))
        }
        return lines
    }

    private static func describe(_ outcome: FlightDetail.Outcome, for terminal: Terminal) -> String {
        var parts = [outcome.kind]
        if let detail = outcome.detail { parts.append(detail) }
        if let bytes = outcome.bytes {
            parts.append((bytes == 1 ? "1 byte" : "\(bytes) bytes") + (outcome.codec.map { " of \($0)" } ?? ""))
        }
        if let leader = outcome.leader { parts.append("by \(leader)") }
        parts.append("for \(terminal.duration(.milliseconds(outcome.remainingMilliseconds))) more")
        return parts.joined(separator: ", ")
    }
}

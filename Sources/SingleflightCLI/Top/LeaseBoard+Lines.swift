/// How the board is drawn: at most as many lines as the terminal has rows, none of them wider than it.
extension LeaseBoard {
    func lines(_ size: TerminalScreen.Size, for terminal: Terminal, at now: Duration) -> [String] {
        var terminal = terminal
        terminal.width = size.columns
        let top = header(size, terminal, now)
        let leases = matching
        let rows = Self.window(size.rows - top.count - 2, of: leases.count, chosenRow)
        let footer = footer(rows, of: total, terminal)
        let room = max(0, size.rows - top.count - footer.count)
        let body =
            switch mode {
            case .flight(_, let flights): card(flights, room, terminal)
            case .list, .filter, .question: table(leases, rows, terminal)
            }
        let blank = Array(repeating: "", count: max(0, room - body.count))
        return Array((top + body.prefix(room) + blank + footer).prefix(size.rows))
    }

    /// How many leases a screen of this size shows: a page.
    func page(_ size: TerminalScreen.Size, for terminal: Terminal, at now: Duration) -> Int {
        var terminal = terminal
        terminal.width = size.columns
        return max(1, size.rows - header(size, terminal, now).count - 2)
    }

    /// The rows on the screen: the chosen one is in the middle where it can be.
    private static func window(_ room: Int, of count: Int, _ chosen: Int?) -> Range<Int> {
        let room = max(0, room)
        let start = max(0, min((chosen ?? 0) - room / 2, count - room))
        return start..<min(count, start + room)
    }

    // MARK: - Above

    private func header(_ size: TerminalScreen.Size, _ terminal: Terminal, _ now: Duration) -> [String] {
        // Every row counts there; what there is to say stands as densely as it can.
        let isLow = size.rows < 14
        let isBrief = isLow && size.columns < 60
        var lines = Self.flow(heading(isBrief: isBrief).map { ($0, .bold) }, by: "  ", terminal)
        if case .flight = mode, isLow { return lines }
        var parts = [summary]
        if let activity {
            let pace = Self.pace(activity, for: terminal, at: now).map { (text: $0, style: TextStyle?.none) }
            parts += [pace, Self.trouble(activity, at: now, isBrief: isLow)]
        }
        if isBrief { parts = [parts.flatMap(\.self)] }
        for parts in parts { lines += Self.flow(parts, by: " · ", terminal) }
        if let message { lines.append(Self.fitted(message.text, message.style, terminal)) }
        return lines
    }

    private static func pace(_ activity: FlightActivity, for terminal: Terminal, at now: Duration) -> [String] {
        var parts: [String] = []
        if activity.isKnown { parts.append("\(tenths(activity.perSecond(.flights, at: now))) flights/s") }
        if let share = activity.coalescedShare {
            parts.append("\(Int((share * 100).rounded())) % coalesced")
        } else if !activity.isKnown {
            parts.append("no events")
        }
        if activity.isDeaf {
            parts.append("no wake-up")
        } else if let half = activity.wakeUp(percentile: 50), let most = activity.wakeUp(percentile: 99) {
            parts.append("wake-up \(terminal.duration(half)), p99 \(terminal.duration(most))")
        }
        return parts
    }

    /// What goes wrong, per second; on a low screen only what does.
    private static func trouble(
        _ activity: FlightActivity,
        at now: Duration,
        isBrief: Bool
    ) -> [(text: String, style: TextStyle?)] {
        guard activity.isKnown else { return [] }
        return FlightActivity.Kind.allCases.compactMap { kind in
            guard let name = kind.trouble else { return nil }
            let number = activity.perSecond(kind, at: now)
            if number == 0, isBrief { return nil }
            return ("\(tenths(number)) \(name)/s", number > 0 ? .bad : nil)
        }
    }

    private static func tenths(_ number: Double) -> String {
        if number >= 99.95 { return "\(Int(number.rounded()))" }
        // What happens at all is not told as never.
        let tenths = number > 0 ? max(1, Int((number * 10).rounded())) : 0
        return "\(tenths / 10).\(tenths % 10)"
    }

    // MARK: - In the middle

    private func table(_ leases: [LeaseSummary], _ rows: Range<Int>, _ terminal: Terminal) -> [String] {
        let table = LeaseRendering.table(leases[rows], for: terminal)
        var lines = table.render(for: terminal).split(separator: "\n").map(String.init)
        guard let chosenRow, rows.contains(chosenRow), !lines.isEmpty else { return lines }
        var plain = terminal
        plain.isColored = false
        let text = table.render(for: plain).split(separator: "\n")[chosenRow - rows.lowerBound + 1]
        lines[chosenRow - rows.lowerBound + 1] = TerminalScreen.marked(String(text))
        return lines
    }

    private func card(_ flights: [FlightDetail]?, _ room: Int, _ terminal: Terminal) -> [String] {
        guard let flights else { return [Self.fitted("looking…", nil, terminal)] }
        guard !flights.isEmpty else {
            return [Self.fitted("the flight is over, and nothing of it is kept", nil, terminal)]
        }
        let lines = flights.flatMap { FlightRendering.lines($0, for: terminal) }
        guard lines.count > room, room > 0 else { return lines }
        let hidden = lines.count - room + 1
        return lines.prefix(room - 1)
            + [Self.fitted("\(hidden) more lines: `singleflight show` prints them", .dim, terminal)]
    }

    // MARK: - Below

    private func footer(_ rows: Range<Int>, of count: Int, _ terminal: Terminal) -> [String] {
        switch mode {
        case .filter(let typed):
            return [Self.fitted("filter: \(typed)_   Enter keeps it, Escape shows all", .bold, terminal)]
        case .flight: return [Self.fitted("Escape back   r revoke", .dim, terminal)]
        case .question(let lease):
            let waiting = LeaseRendering.processes(lease.waiters)
            let question =
                "End \(ShellWord.quoted(lease.key)) of group \(lease.group), led by \(lease.leader), \(waiting) waiting? y/N"
            return SafeText.wrapped(terminal.own(question), to: terminal.width ?? .max)
                .map { terminal.styled($0, .warning) }
        case .list: return [help(rows, of: count, terminal)]
        }
    }

    /// As much as there is room for, the most important to the end.
    private func help(_ rows: Range<Int>, of count: Int, _ terminal: Terminal) -> String {
        let columns = terminal.width ?? .max
        var range: [String] = []
        if rows.count < count { range.append("\(rows.lowerBound + 1)-\(rows.upperBound) of \(count)") }
        if !filter.isEmpty { range.append("filter '\(filter)'") }
        let orders = LeaseOrder.allCases.map { $0 == order ? "[\($0.rawValue)]" : $0.rawValue }
        let sort = "sort: " + orders.joined(separator: " ")
        let candidates = [
            range + ["q quit", "/ filter", "⏎ open", "r revoke", sort], range + ["q quit", "/ filter", sort],
            range + ["q quit", sort], range + [sort], range + ["by [\(order.rawValue)]"],
        ]
        let texts = candidates.map { terminal.own($0.joined(separator: "  ")) }
        let fitting = texts.first { SafeText.width($0) <= columns } ?? texts[texts.count - 1]
        return terminal.styled(SafeText.truncate(fitting, to: columns, ascii: terminal.isASCII), .dim)
    }

    // MARK: - Fitting

    private static func fitted(_ text: String, _ style: TextStyle?, _ terminal: Terminal) -> String {
        let text = SafeText.truncate(terminal.own(text), to: terminal.width ?? .max, ascii: terminal.isASCII)
        return terminal.styled(text, style)
    }

    /// The parts side by side, on as many lines as that takes.
    private static func flow(
        _ parts: [(text: String, style: TextStyle?)],
        by separator: String,
        _ terminal: Terminal
    ) -> [String] {
        let (separator, columns) = (terminal.own(separator), terminal.width ?? .max)
        var lines: [(text: String, width: Int)] = []
        for (text, style) in parts {
            let safe = SafeText.truncate(terminal.own(text), to: columns, ascii: terminal.isASCII)
            let (styled, width) = (terminal.styled(safe, style), SafeText.width(safe))
            if let last = lines.last, last.width + separator.count + width <= columns {
                lines[lines.count - 1] = (last.text + separator + styled, last.width + separator.count + width)
            } else {
                lines.append((styled, width))
            }
        }
        return lines.map(\.text)
    }
}

/// What `doctor` says of a server.
package struct DoctorReport: Encodable, Sendable {
    /// Without a password.
    package let url: String
    package let namespace: String
    /// The worst of the findings; ``Finding/Status/ok`` if there is none worse.
    package let status: Finding.Status
    package let findings: [Finding]

    package init(url: String, namespace: String, findings: [Finding]) {
        self.url = Redaction.withoutSecrets(url)
        self.namespace = namespace
        self.status = findings.reduce(.ok) { max($0, $1.status) }
        self.findings = findings
    }
}

extension DoctorReport {
    /// The report as it is printed.
    package func text(as format: OutputFormat, for terminal: Terminal) throws -> String {
        switch format {
        case .json: try JSONText.document(self)
        case .ndjson: try JSONText.lines(findings)
        case .table: table(for: terminal)
        }
    }

    /// A line for each finding; those that are not in order also say what that means and what to do.
    private func table(for terminal: Terminal) -> String {
        let width = findings.map(\.check.count).max() ?? 0
        let indentation = Finding.Status.width + width + 4
        // On a narrow terminal what is said of a check stands below its name.
        let isNarrow = terminal.width.map { $0 < indentation + 30 } ?? false
        let margin = isNarrow ? Finding.Status.width + 2 : indentation
        func said(_ text: String, _ mark: String = "") -> [String] {
            let room = terminal.width.map { $0 - margin - mark.count } ?? .max
            return SafeText.wrapped(terminal.own(text), to: room).enumerated().map { index, line in
                String(repeating: " ", count: margin + (index == 0 ? 0 : mark.count)) + (index == 0 ? mark : "") + line
            }
        }
        var lines: [String] = []
        for finding in findings {
            let status = finding.status.rawValue
            let check = finding.check + String(repeating: " ", count: width - finding.check.count)
            let padding = String(repeating: " ", count: Finding.Status.width - status.count)
            let name = "\(terminal.styled(status, finding.status.style))\(padding)  \(terminal.styled(check, .bold))"
            let found = said(finding.found)
            if isNarrow {
                lines += [name] + found
            } else {
                lines += ["\(name)  " + found[0].dropFirst(margin)] + found.dropFirst()
            }
            guard finding.status == .warn || finding.status == .fail else { continue }
            lines += said(finding.meaning)
            if let advice = finding.advice { lines += said(advice, "-> ") }
        }
        lines.append("")
        lines.append(summary)
        return lines.map { $0 + "\n" }.joined()
    }

    private var summary: String {
        let counts = [Finding.Status.fail, .warn, .ok, .skipped].compactMap { status in
            let count = findings.count { $0.status == status }
            return count == 0 ? nil : "\(count) \(status.rawValue)"
        }
        let isHidden = findings.contains { $0.status == .skipped && $0.found.hasPrefix(Finding.notKnown) }
        let hint = isHidden ? " (skipped: ask as a user with more rights)" : ""
        return counts.joined(separator: ", ") + hint
    }
}

extension Finding.Status {
    /// Of the longest.
    fileprivate static let width = 7

    fileprivate var style: TextStyle {
        switch self {
        case .ok: .good
        case .warn: .warning
        case .fail: .bad
        case .skipped: .dim
        }
    }
}

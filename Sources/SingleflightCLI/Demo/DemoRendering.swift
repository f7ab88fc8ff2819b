/// How the demo's report is printed.
enum DemoRendering {
    static func text(_ report: DemoReport, as format: DemoCommand.Format, for terminal: Terminal) throws -> String {
        switch format {
        case .json: try JSONText.document(report)
        case .table: table(report, for: terminal) + figures(report, for: terminal)
        }
    }

    /// A scene's end in one line.
    static func line(_ report: SceneReport) -> String {
        let duration = DurationText.describe(.milliseconds(report.milliseconds))
        switch report.verdict {
        case .ok: return "ok, \(duration)"
        case .notRun: return "not run: \(report.remark ?? "")"
        case .failed:
            let wrong = report.checks.filter { !$0.passed }.map { "\($0.what): \($0.seen) instead of \($0.expected)" }
            return "FAILED after \(duration): " + (wrong + [report.remark].compactMap(\.self)).joined(separator: "; ")
        }
    }

    static func style(of verdict: Verdict) -> TextStyle {
        switch verdict {
        case .ok: .good
        case .failed: .bad
        case .notRun: .warning
        }
    }

    private static func table(_ report: DemoReport, for terminal: Terminal) -> String {
        // A scene is a line of its own above its checks, which keeps the whole within eighty columns.
        var table = Table([
            .init("SCENE", isFlexible: true), .init("EXPECTED", .right), .init("SEEN", .right), .init("VERDICT"),
        ])
        for scene in report.scenes {
            let verdict = Table.Cell(scene.verdict.text, style(of: scene.verdict))
            table.append([.init("\(scene.number)  \(scene.title)", .bold), "", "", verdict])
            for check in scene.checks {
                let verdict = check.passed ? Verdict.ok : .failed
                table.append([
                    .init("   \(check.what)"), .init(check.expected), .init(check.seen),
                    .init(verdict.text, style(of: verdict)),
                ])
            }
            if let remark = scene.remark { table.append([.init("   \(remark)")]) }
        }
        return table.render(for: terminal)
    }

    private static func figures(_ report: DemoReport, for terminal: Terminal) -> String {
        guard let herd = report.herd else { return "" }
        func time(_ microseconds: Double?) -> String {
            microseconds.map { terminal.duration(.nanoseconds(Int64($0 * 1_000))) } ?? "-"
        }
        let ratio = (herd.coalescingRatio * 10).rounded() / 10
        return """

            herd: \(herd.calls) calls, \(herd.originHits) origin hits, \(ratio) calls a hit
            wake-up in another process: p50 \(time(herd.wakeUpP50Microseconds)), \
            p99 \(time(herd.wakeUpP99Microseconds)) (\(herd.wakeUpSamples) samples)

            """
    }
}

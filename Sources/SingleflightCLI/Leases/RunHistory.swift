import SingleflightRedis

/// The last runs of a key as `last` prints them.
struct RunHistory: Codable, Equatable {
    struct Run: Codable, Equatable {
        var leader: String
        /// Since 1970, by the leader's clock.
        var startedAtMilliseconds: Int64
        var tookMilliseconds: Int64
        var status: Int32?
        var reason: String?
        var skips: Int
    }

    var key: String
    var group: String
    /// The latest first.
    var runs: [Run]
    /// Since the last run was over.
    var skips: Int

    init(_ last: LastRuns, key: String, group: String) {
        self.key = key
        self.group = group
        skips = last.skips
        runs = last.runs.map { run in
            Run(
                leader: run.record.label,
                startedAtMilliseconds: run.record.startedAt,
                tookMilliseconds: run.record.milliseconds,
                status: run.record.status,
                reason: run.record.reason,
                skips: run.skips
            )
        }
    }

    func table(for terminal: Terminal) -> String {
        var columns: [Table.Column] = [.init("WHEN"), .init("TOOK", .right), .init("STATUS", isFlexible: true)]
        // On a narrow terminal the question is when and how; JSON tells the rest.
        if terminal.width.map({ $0 >= 50 }) ?? true {
            columns += [.init("SKIPS", .right), .init("LEADER", isFlexible: true)]
        }
        var table = Table(columns)
        for run in runs {
            let isBad = run.status != 0
            let status = run.reason ?? run.status.map { "\($0)" } ?? "?"
            table.append([
                .init(ClockText.date(.milliseconds(run.startedAtMilliseconds))),
                .init(terminal.duration(.milliseconds(run.tookMilliseconds))),
                .init(status, isBad ? .bad : .good), .init("\(run.skips)"), .init(run.leader),
            ])
        }
        let since = skips == 0 ? "" : "\nskipped since the last run: \(skips)\n"
        return table.render(for: terminal) + since
    }
}

import PrivateRedis
import SingleflightRedis

/// Plays cells, many at once, since each mostly waits, on one private Redis.
package enum FaultMatrix {
    /// A fault that did not strike says nothing: such a cell is played again, this many times at most.
    private static let attempts = 10

    /// Plays `cells`, and hands each report over as it comes; the reports in the order of the cells.
    ///
    /// - Parameter isBehindSentinel: whether the process that is harmed finds its server by a sentinel.
    package static func play(
        _ cells: [MatrixCell],
        atOnce: Int = 24,
        isBehindSentinel: Bool = false,
        onReport: @escaping @Sendable (CellReport) -> Void = { _ in }
    ) async throws -> [CellReport] {
        try await self.withRedis { redis in
            try await self.play(cells, atOnce: atOnce, onReport: onReport) { cell in
                try await self.playUntilStruck { attempt in
                    let run = CellRun(cell, attempt: attempt, redis: redis, isBehindSentinel: isBehindSentinel)
                    return try await run.play()
                }
            }
        }
    }

    /// Plays cells with worker processes, which run `tool`.
    package static func play(
        _ cells: [ProcessCell],
        tool: String,
        atOnce: Int = 8,
        onReport: @escaping @Sendable (CellReport) -> Void = { _ in }
    ) async throws -> [CellReport] {
        try await self.withRedis { redis in
            try await self.play(cells, atOnce: atOnce, onReport: onReport) { cell in
                try await self.playUntilStruck { attempt in
                    try await ProcessCellRun(cell, attempt: attempt, redis: redis, tool: tool).play()
                }
            }
        }
    }

    /// Plays cells in which another flight of the key follows, with worker processes, which run `tool`.
    package static func play(
        _ overtaken: [OvertakenCell],
        _ second: [SecondFlightCell],
        tool: String,
        atOnce: Int = 8,
        onReport: @escaping @Sendable (CellReport) -> Void = { _ in }
    ) async throws -> [CellReport] {
        try await self.withRedis { redis in
            try await self.play(overtaken, atOnce: atOnce, onReport: onReport) { cell in
                try await self.playUntilStruck { attempt in
                    try await OvertakenRun(cell, attempt: attempt, redis: redis, tool: tool).play()
                }
            }
                + self.play(second, atOnce: atOnce, onReport: onReport) { cell in
                    try await self.playUntilStruck { attempt in
                        try await SecondFlightRun(cell, attempt: attempt, redis: redis, tool: tool).play()
                    }
                }
        }
    }

    private static func play<Cell: Sendable>(
        _ cells: [Cell],
        atOnce: Int,
        onReport: @escaping @Sendable (CellReport) -> Void,
        _ play: @escaping @Sendable @concurrent (Cell) async throws -> CellReport
    ) async throws -> [CellReport] {
        try await withThrowingTaskGroup(of: (Int, CellReport).self) { group in
            var reports: [Int: CellReport] = [:]
            for (index, cell) in cells.enumerated() {
                if index >= atOnce, let (index, report) = try await group.next() {
                    reports[index] = report
                    onReport(report)
                }
                group.addTask { (index, try await play(cell)) }
            }
            while let (index, report) = try await group.next() {
                reports[index] = report
                onReport(report)
            }
            return cells.indices.compactMap { reports[$0] }
        }
    }

    private static func playUntilStruck(_ play: (Int) async throws -> CellReport) async throws -> CellReport {
        var attempt = 1
        while true {
            var report = try await play(attempt)
            if report.struck || !report.problems.isEmpty { return report }
            if attempt == self.attempts {
                report.problems.append("the trouble did not come about as it should in \(attempt) attempts")
                return report
            }
            attempt += 1
        }
    }

    /// I8: the keys of a group that have no time to live, as problems.
    static func immortalKeys(of group: String, on redis: PrivateRedis) async throws -> [String] {
        let immortal = try await redis.command(
            "EVAL",
            """
            local immortal = {}
            for _, key in ipairs(redis.call('KEYS', '*:' .. ARGV[1] .. ':*')) do
              if redis.call('PTTL', key) == -1 then table.insert(immortal, key) end
            end
            return table.concat(immortal, ' ')
            """,
            "0",
            group
        )
        return immortal == "$0\r\n\r\n" ? [] : ["without a time to live: \(immortal)"]
    }

    /// A server that knows all scripts: a command is then one frame, and not two.
    static func withRedis<Result: Sendable>(_ body: (PrivateRedis) async throws -> Result) async throws -> Result {
        try await PrivateRedis.with { redis in
            for script in LeaseScripts.named {
                try await redis.command("SCRIPT", "LOAD", script.source)
            }
            return try await body(redis)
        }
    }
}

/// The matrix could not be played.
package struct FaultMatrixError: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

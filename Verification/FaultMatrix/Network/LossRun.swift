import FaultProxy
import History
import PrivateRedis
import SingleflightRedis

/// Flights whose followers lose a share of all announcements.
package struct LossReport: Sendable {
    /// The share that was lost.
    package var share: Double
    package var callers = 0
    /// Followers that had the result by an announcement, and by asking.
    package var pushed = 0
    package var polled = 0
    /// The longest wait of a follower, once the operation was over.
    package var waited = Duration.zero
    package var problems: [String] = []

    package var markdown: String {
        "| \(Int(self.share * 100)) % | \(self.callers) | \(self.pushed) | \(self.polled) | "
            + "\(Int(self.waited / .milliseconds(1))) ms |"
    }
}

extension FaultMatrix {
    /// One process leads `flights` flights at once, four others follow each of them.
    package static func playLosses(flights: Int, shares: [Double] = [0, 0.1, 0.5, 1]) async throws -> [LossReport] {
        try await self.withRedis { redis in
            var reports: [LossReport] = []
            for share in shares { reports.append(try await LossRun(share: share, flights: flights).play(on: redis)) }
            return reports
        }
    }
}

private struct LossRun {
    let share: Double
    let flights: Int

    private static let followers = 4
    private var name: String { "losses.\(Int(self.share * 100))" }

    func play(on redis: PrivateRedis) async throws -> LossReport {
        guard let socket = redis.socketPath else { throw FaultMatrixError("the server needs a Unix socket") }
        let proxy = try await FaultProxy(to: .unixSocket(socket), times: MatrixTimes.faults, name: ProtocolPoint.name)
        try await proxy.lose(announcements: self.share)
        let history = LeaseHistory()
        func process(_ role: ProcessPart, _ url: String) throws -> CellProcess {
            try CellProcess(role, url: url, group: self.name, rule: .cancel, history: history)
        }
        let leader = try process(.leader, redis.url)
        let followers = try (0..<Self.followers).map { _ in try process(.follower, proxy.url) }
        for process in [leader] + followers { try await process.store.untilReady(within: .seconds(15)) }

        var report = LossReport(share: self.share)
        try await withThrowingTaskGroup(of: [(CallEnd, CellProcess, Duration)].self) { tasks in
            for flight in 0..<self.flights {
                tasks.addTask { try await self.play("\(flight)", leader, followers) }
            }
            for try await ends in tasks {
                for (end, process, waited) in ends {
                    let token = end.token.map { [$0] } ?? []
                    var judge = FlightJudge(begun: token, history: history)
                    let inbox = process.store.inbox.description
                    switch judge.judge(end, of: process.role, inbox: inbox) {
                    case .pushedValue: report.pushed += 1
                    case .polledValue: report.polled += 1
                    case let other: report.problems.append("a follower ended with \(other)")
                    }
                    report.callers += 1
                    report.waited = max(report.waited, waited)
                    report.problems += judge.problems
                }
            }
        }
        for process in [leader] + followers where await !process.stop(within: MatrixTimes.allowance) {
            report.problems.append("a process does not shut down")
        }
        await proxy.close()
        report.problems += history.violations()
        if report.waited > MatrixTimes.bound + MatrixTimes.allowance {
            report.problems.append("a follower waited for \(report.waited)")
        }
        return report
    }

    /// One flight; how it ended for its followers, and how long after its operation.
    private func play(
        _ key: String,
        _ leader: CellProcess,
        _ followers: [CellProcess]
    ) async throws -> [(CallEnd, CellProcess, Duration)] {
        let (finish, continuation) = AsyncStream.makeStream(of: Void.self)
        let (started, starting) = AsyncStream.makeStream(of: Void.self)
        async let led = leader.group.run(key) { flight in
            starting.finish()
            for await _ in finish {}
            return "leader \(flight.token?.description ?? "none")"
        }
        for await _ in started {}
        let following = followers.map { process in
            Task {
                let outcome = await process.group.run(key) { flight in
                    "follower \(flight.token?.description ?? "none")"
                }
                return (CallEnd(outcome, hasLed: false), ContinuousClock.now)
            }
        }
        try await leader.store.untilAwaited(by: followers.count, group: self.name, key: key)
        let over = ContinuousClock.now
        continuation.finish()
        _ = await led
        var ends: [(CallEnd, CellProcess, Duration)] = []
        for (process, task) in zip(followers, following) {
            let (end, at) = await task.value
            ends.append((end, process, at - over))
        }
        return ends
    }
}

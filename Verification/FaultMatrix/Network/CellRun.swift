import FaultProxy
import History
import PrivateRedis
import SingleflightRedis
import Synchronization

/// Plays one cell: a leader and a follower of one flight on a real Redis, one of them through a proxy that does the
/// harm.
struct CellRun: Sendable {
    private let cell: MatrixCell
    private let redis: PrivateRedis
    /// Whether the process that is harmed is told by a sentinel where its server is: behind the proxy.
    private let isBehindSentinel: Bool
    private let groupName: String
    private let history: LeaseHistory
    private let milestones: Milestones
    private let begun = Begun()
    /// Ends when the leader's operation is to end.
    private let finish: (stream: AsyncStream<Void>, continuation: AsyncStream<Void>.Continuation)

    /// The tokens under which operations ran.
    private final class Begun: Sendable {
        let tokens = Mutex<[String]>([])
    }

    /// How a caller's wait ended, and when.
    private struct End: Sendable {
        var call: CallEnd
        var at: ContinuousClock.Instant
    }

    /// For what certainly happens, sooner or later, on however busy a machine.
    private static let patience = Duration.seconds(30)

    init(_ cell: MatrixCell, attempt: Int, redis: PrivateRedis, isBehindSentinel: Bool) {
        let milestones = Milestones()
        self.cell = cell
        self.redis = redis
        self.isBehindSentinel = isBehindSentinel
        self.groupName = "\(cell).\(attempt)"
        self.milestones = milestones
        self.finish = AsyncStream.makeStream(of: Void.self)
        self.history = LeaseHistory { _, reply in
            switch reply {
            case .follow: milestones.reach(.followerAnswered)
            default: break
            }
        }
    }

    func play() async throws -> CellReport {
        guard let socket = self.redis.socketPath else { throw FaultMatrixError("the server needs a Unix socket") }
        let proxy = try await FaultProxy(
            to: .unixSocket(socket),
            times: MatrixTimes.faults,
            name: ProtocolPoint.name
        )
        do {
            let report = try await self.withWay(through: proxy) { url in
                try await self.play(through: proxy, at: url)
            }
            await proxy.close()
            return report
        } catch {
            await proxy.close()
            throw error
        }
    }

    /// Calls `body` with the URL by which a process comes to the proxy.
    ///
    /// A sentinel tells the address that it watches, so that it has to watch the server through the proxy as well. It
    /// never holds it for down.
    private func withWay(
        through proxy: FaultProxy,
        _ body: (String) async throws -> CellReport
    ) async throws -> CellReport {
        guard self.isBehindSentinel else { return try await body(proxy.url) }
        let place = proxy.url.replacing("redis://", with: "").replacing(":", with: " ")
        let lines = ["sentinel monitor main \(place) 1", "sentinel down-after-milliseconds main 60000"]
        let configuration = PrivateRedis.Configuration(listening: .tcp(.free), extraLines: lines, isSentinel: true)
        return try await PrivateRedis.with(configuration) { sentinel in
            try await body("redis-sentinel://127.0.0.1:\(sentinel.port ?? 0)/main")
        }
    }

    private func play(through proxy: FaultProxy, at url: String) async throws -> CellReport {
        if self.cell.point == .subscribe {
            try await self.arm(proxy)
        }
        let leader = try self.process(.leader, url)
        let follower = try self.process(.follower, url)
        for process in [leader, follower] where self.cell.point != .subscribe || process.role == .leader {
            try await process.store.untilReady(within: Self.patience)
        }
        if self.cell.point == .subscribe {
            _ = try await proxy.struck(within: Self.patience)
        } else {
            try await self.arm(proxy)
        }

        let leading = self.call(leader, reaching: .leaderResolved)
        await self.milestones.wait(for: .leaderBegan, .leaderResolved, within: Self.patience)
        let following = self.call(follower, reaching: .followerResolved)
        await self.milestones.wait(for: .followerAnswered, .followerResolved, within: Self.patience)
        try await self.reachPoint(proxy, leader, following)
        self.finish.continuation.finish()
        let finishedAt = ContinuousClock.now

        let limit = MatrixTimes.faults.outage + MatrixTimes.bound + MatrixTimes.allowance
        let leaderEnd = await within(limit) { await leading.value }
        let followerEnd = await within(limit) { await following.value }
        var report = CellReport(cell: self.cell.description)
        let struckAt = try await proxy.struckAt
        report.struck = struckAt != nil
        let over = max(finishedAt, struckAt.map { $0 + self.cell.fault.outage(MatrixTimes.faults) } ?? finishedAt)
        report.waited = [leaderEnd, followerEnd].compactMap { $0.map { $0.at - over } }.reduce(.zero, max)
        var judge = FlightJudge(begun: self.begun.tokens.withLock { $0 }, history: self.history)
        report.leader = judge.judge(leaderEnd?.call, of: .leader, inbox: leader.store.inbox.description)
        report.follower = judge.judge(followerEnd?.call, of: .follower, inbox: follower.store.inbox.description)
        if report.leader == .left || (report.follower == .left && self.cell.point != .leave) {
            judge.problems.append("a caller was canceled by nobody")
        }
        report.problems = judge.problems
        if report.waited > MatrixTimes.bound + MatrixTimes.allowance {
            report.problems.append("a caller waited for \(report.waited)")
        }
        await self.clearUp(leader, follower, &report)
        try await self.check(&report)
        return report
    }

    private func process(_ role: ProcessPart, _ harmed: String) throws -> CellProcess {
        try CellProcess(
            role,
            url: role == self.cell.point.victim ? harmed : self.redis.url,
            group: self.groupName,
            rule: self.cell.rule,
            history: self.history
        )
    }

    private func arm(_ proxy: FaultProxy) async throws {
        try await proxy.arm(self.cell.fault, at: self.cell.point.rawValue, on: self.cell.connection)
    }

    // MARK: - What happens

    private func call(_ process: CellProcess, reaching milestone: Milestones.Milestone) -> Task<End, Never> {
        Task {
            let outcome = await process.group.run("key") { flight in try await self.operate(process.role, flight) }
            let hasLed = process.role == .leader && self.begun.tokens.withLock { !$0.isEmpty }
            let end = End(call: CallEnd(outcome, hasLed: hasLed), at: .now)
            self.milestones.reach(milestone)
            return end
        }
    }

    /// The leader's operation lasts until it is told to end; a follower's, should it come to lead, no time at all.
    private func operate(_ role: ProcessPart, _ flight: Flight<String>) async throws -> String {
        let token = flight.token?.description ?? "none"
        self.begun.tokens.withLock { $0.append(token) }
        guard role == .leader else { return "\(role.rawValue) \(token)" }
        defer { self.milestones.reach(.leaderStopped) }
        self.milestones.reach(.leaderBegan)
        if self.cell.point == .fence {
            // That the fence can be had is not promised; that the answer comes is.
            _ = try? await flight.fence()
            self.milestones.reach(.leaderFenced)
        }
        for await _ in self.finish.stream {}
        try Task.checkCancellation()
        return "\(role.rawValue) \(token)"
    }

    /// Brings the flight to the cell's point, if it does not come there by itself.
    private func reachPoint(_ proxy: FaultProxy, _ leader: CellProcess, _ following: Task<End, Never>) async throws {
        switch self.cell.point {
        case .acquire, .enter, .complete, .subscribe, .announcement:
            break
        case .renew:
            _ = try await proxy.struck(within: Self.patience)
            // Long enough for the lease to be lost, if the trouble lasts.
            await self.milestones.wait(for: .leaderStopped, within: MatrixTimes.lease * 1.2)
        case .poll:
            try await proxy.lose(announcements: 1)
        case .release:
            _ = await leader.stop(within: Self.patience)
        case .leave:
            following.cancel()
            await self.milestones.wait(for: .followerResolved, within: Self.patience)
            _ = try await proxy.struck(within: Self.patience)
        case .fence:
            await self.milestones.wait(for: .leaderFenced, .leaderResolved, within: Self.patience)
        }
    }

    // MARK: - What came of it

    /// I13 and I14: nothing of a flight is left in a process, and it can be shut down in time.
    private func clearUp(_ leader: CellProcess, _ follower: CellProcess, _ report: inout CellReport) async {
        for process in [leader, follower] {
            let limit = ContinuousClock.now.advanced(by: MatrixTimes.bound + MatrixTimes.allowance)
            // What is still under way are requests, which end by themselves: there is no event to wait for.
            while process.store.listeningKeyCount > 0, ContinuousClock.now < limit {
                try? await Task.sleep(for: .milliseconds(20))
            }
            if process.store.listeningKeyCount > 0 {
                report.problems.append("the \(process.role.rawValue) still listens")
            }
            if await !process.stop(within: MatrixTimes.commandTimeout * 2 + MatrixTimes.allowance) {
                report.problems.append("the \(process.role.rawValue) does not shut down")
            }
        }
    }

    private func check(_ report: inout CellReport) async throws {
        var judge = FlightJudge(begun: self.begun.tokens.withLock { $0 }, history: self.history)
        judge.judgeHistory()
        report.problems += judge.problems
        report.requests = self.history.records.count
        report.operations = judge.begun.count
        report.problems += try await FaultMatrix.immortalKeys(of: self.groupName, on: self.redis)
    }
}

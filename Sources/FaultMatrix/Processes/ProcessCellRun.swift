import FaultProxy
import Foundation
import PrivateRedis
import SingleflightCLI
import SingleflightRedis
import SingleflightTestKit
import Synchronization

/// Plays one process cell: a real worker process and, in this one, somebody who shares its flight.
struct ProcessCellRun: Sendable {
    private let cell: ProcessCell
    private let redis: PrivateRedis
    private let tool: String
    private let groupName: String
    private let history: LeaseHistory
    private let milestones: Milestones
    private let begun = Begun()
    private let finish = AsyncStream.makeStream(of: Void.self)

    private final class Begun: Sendable {
        let tokens = Mutex<[String]>([])
    }

    private static let patience = Duration.seconds(30)
    private static let limit = MatrixTimes.bound + MatrixTimes.allowance

    init(_ cell: ProcessCell, attempt: Int, redis: PrivateRedis, tool: String) {
        let milestones = Milestones()
        self.cell = cell
        self.redis = redis
        self.tool = tool
        self.groupName = "\(cell).\(attempt)"
        self.milestones = milestones
        self.history = LeaseHistory { _, reply in
            if case .follow = reply { milestones.reach(.followerAnswered) }
        }
    }

    private var victim: Role { self.cell.point.victim }
    private var survivor: Role { self.victim == .leader ? .follower : .leader }

    func play() async throws -> CellReport {
        guard let socket = self.redis.socketPath else { throw FaultMatrixError("the server needs a Unix socket") }
        let proxy = try await FaultProxy(to: .unixSocket(socket), times: MatrixTimes.faults, name: ProtocolPoint.name)
        let plan = FlightWorker.Plan(url: proxy.url, group: self.groupName, rule: self.cell.rule)
        let worker = try await WorkerProcess(tool: self.tool, plan, history: self.history)
        do {
            let report = try await self.play(worker, proxy)
            await worker.process.stop()
            await proxy.close()
            return report
        } catch {
            await worker.process.stop(grace: .zero)
            await proxy.close()
            throw error
        }
    }

    private func play(_ worker: WorkerProcess, _ proxy: FaultProxy) async throws -> CellReport {
        var report = CellReport(cell: self.cell.description)
        let other = try CellProcess(
            self.survivor,
            url: self.redis.url,
            group: self.groupName,
            rule: self.cell.rule,
            history: self.history
        )
        try await other.store.untilReady(within: Self.patience)
        guard await worker.untilReady(within: Self.patience) else {
            throw FaultMatrixError("\(self.cell): the worker does not get ready")
        }
        try await proxy.arm(self.cell.moment.fault, at: self.cell.point.rawValue, on: .command)

        let calling = try await self.share(worker, other, proxy)
        // What is too busy may time out before it comes to the point.
        report.struck = try await proxy.struck(within: MatrixTimes.bound + MatrixTimes.allowance) != nil
        try await self.strike(worker, proxy)
        let over = ContinuousClock.now
        // The one who leads now, whoever it is, may end.
        worker.send(.finish)
        self.finish.continuation.finish()

        let call = calling ?? self.call(other)
        let otherEnd = await within(Self.limit) { await call.value }
        if self.cell.blow != .kill {
            _ = await worker.untilEnded(within: Self.limit)
        } else {
            // Its last lines are those of requests under way.
            _ = await worker.untilGone(within: Self.patience)
        }
        report.waited = [otherEnd?.1, worker.end?.at].compactMap { $0.map { $0 - over } }.reduce(.zero, max)
        self.judge(worker, other, otherEnd?.0, &report)
        report.problems += try await self.end(worker, other)
        report.problems += try await FaultMatrix.immortalKeys(of: self.groupName, on: self.redis)
        return report
    }

    /// Brings the flight to the cell's point; answers the survivor's call, if it has been made.
    private func share(
        _ worker: WorkerProcess,
        _ other: CellProcess,
        _ proxy: FaultProxy
    ) async throws -> Task<(CallEnd, ContinuousClock.Instant), Never>? {
        switch self.victim {
        case .leader:
            worker.send(.call(waits: true))
            guard self.cell.point != .acquire else { return nil }
            _ = await worker.untilBegun(within: Self.patience)
            let call = self.call(other)
            await self.milestones.wait(for: .followerAnswered, .followerResolved, within: Self.patience)
            if self.cell.point == .complete { worker.send(.finish) }
            return call
        case .follower:
            let call = self.call(other)
            await self.milestones.wait(for: .leaderBegan, .leaderResolved, within: Self.patience)
            if self.cell.point == .poll {
                // It asks when the lease should have run out, having heard nothing.
                try await proxy.lose(announcements: 1)
                worker.send(.call(waits: false))
                await within(Self.patience) {
                    try? await other.store.untilAwaited(by: 1, group: self.groupName, key: "key")
                }
                self.finish.continuation.finish()
            } else {
                worker.send(.call(waits: false))
            }
            return call
        }
    }

    private func strike(_ worker: WorkerProcess, _ proxy: FaultProxy) async throws {
        switch self.cell.blow {
        case .kill:
            worker.process.signal(SIGKILL)
            _ = await worker.process.exit()
            try await proxy.letGo()
        case .terminate:
            worker.process.signal(SIGTERM)
            try await proxy.letGo()
        case .pauseShortly, .pauseHalfTheLease, .pausePastTheLease, .pausePastTheGrace:
            await worker.process.pause()
            try await proxy.letGo()
            // The pause itself is what is tested.
            try await Task.sleep(for: self.cell.blow.pause ?? .zero)
            worker.process.signal(SIGCONT)
        }
    }

    private func call(_ process: CellProcess) -> Task<(CallEnd, ContinuousClock.Instant), Never> {
        Task {
            let outcome = await process.group.run("key") { flight in
                let token = flight.token?.description ?? "none"
                self.begun.tokens.withLock { $0.append(token) }
                if process.role == .leader {
                    self.milestones.reach(.leaderBegan)
                    for await _ in self.finish.stream {}
                    try Task.checkCancellation()
                }
                return "\(process.role.rawValue) \(token)"
            }
            let hasLed = self.begun.tokens.withLock { !$0.isEmpty }
            self.milestones.reach(process.role == .leader ? .leaderResolved : .followerResolved)
            return (CallEnd(outcome, hasLed: hasLed && process.role == .leader), .now)
        }
    }

    private func judge(_ worker: WorkerProcess, _ other: CellProcess, _ otherEnd: CallEnd?, _ report: inout CellReport)
    {
        var judge = FlightJudge(begun: self.begun.tokens.withLock { $0 } + worker.begun, history: self.history)
        let survivors = judge.judge(otherEnd, of: self.survivor, inbox: other.store.inbox.description)
        let victims: Ending =
            if self.cell.blow == .kill {
                .killed
            } else {
                judge.judge(worker.end?.0, of: self.victim, inbox: worker.inbox)
            }
        (report.leader, report.follower) = self.victim == .leader ? (victims, survivors) : (survivors, victims)
        report.problems += judge.problems
        if report.waited > Self.limit {
            report.problems.append("a caller waited for \(report.waited)")
        }
        report.operations = judge.begun.count
        // I12: at most one operation, and one more for each leader that is lost or whose flight ended.
        if judge.begun.count > 2 {
            report.problems.append("\(judge.begun.count) operations ran for two callers")
        }
    }

    /// Both are shut down; only then is the history whole.
    private func end(_ worker: WorkerProcess, _ other: CellProcess) async throws -> [String] {
        var problems: [String] = []
        if await !other.stop(within: Self.limit) {
            problems.append("the survivor does not shut down")
        }
        if self.cell.blow != .kill {
            worker.process.closeInput()
            guard let exit = await within(Self.limit, { await worker.process.exit() }) else {
                return problems + ["the worker does not shut down"]
            }
            if exit != .code(0) { problems.append("the worker ended with \(exit)") }
            _ = await worker.untilGone(within: Self.patience)
        }
        var judge = FlightJudge(begun: self.begun.tokens.withLock { $0 } + worker.begun, history: self.history)
        judge.judgeHistory()
        return problems + judge.problems
    }
}

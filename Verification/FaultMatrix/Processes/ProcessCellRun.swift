import FaultProxy
import Foundation
import History
import PrivateRedis
import SingleflightCLI
import SingleflightRedis
import Synchronization

/// Plays one process cell: a real worker process and, in this one, somebody who shares its flight.
struct ProcessCellRun: Sendable {
    let cell: ProcessCell
    let redis: PrivateRedis
    let groupName: String
    private let tool: String
    private let history: LeaseHistory
    private let milestones: Milestones
    private let begun = Begun()
    private let finish = AsyncStream.makeStream(of: Void.self)

    private final class Begun: Sendable {
        let tokens = Mutex<[String]>([])
    }

    static let patience = Duration.seconds(30)
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

    private var victim: ProcessPart { self.cell.point.victim }
    private var survivor: ProcessPart { self.victim == .leader ? .follower : .leader }

    func play() async throws -> CellReport {
        let plan = FlightWorker.Plan(group: self.groupName, rule: self.cell.rule)
        return try await WorkerProcess.with(self.tool, plan, on: self.redis, history: self.history) { worker, proxy in
            try await self.play(worker, proxy)
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
        try await proxy.arm(self.cell.moment.fault, at: self.cell.point.rawValue, on: self.cell.connection)

        let calling = try await self.share(worker, other, proxy)
        // What is too busy may time out before it comes to the point.
        let isStruck = try await proxy.struck(within: MatrixTimes.bound + MatrixTimes.allowance) != nil
        let isAtPoint = try await self.isAtPoint(worker, other)
        report.struck = isStruck && isAtPoint
        if self.cell.point == .subscribe, let calling {
            // The news come while nothing can be heard: before the server knows of the inbox, or behind an unread
            // answer.
            self.finish.continuation.finish()
            await within(Self.patience) { await calling.value }
        }
        try await self.strike(worker, proxy)
        if self.cell.point == .leave, let inbox = worker.inbox {
            let isGone = await within(Self.limit) {
                do {
                    try await other.store.untilAwaited(group: self.groupName, key: "key") { waiters in
                        !waiters.contains { $0.description == inbox }
                    }
                    return true
                } catch {
                    return false
                }
            }
            if isGone != true { report.problems.append("who left is still on the waiters' list") }
        }
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
            switch self.cell.point {
            case .complete: worker.send(.finish)
            case .release: worker.send(.shutDown)
            case .fence: worker.send(.drawFence)
            case .acquire, .enter, .renew, .poll, .leave, .subscribe, .announcement: break
            }
            return call
        case .follower:
            let call = self.call(other)
            await self.milestones.wait(for: .leaderBegan, .leaderResolved, within: Self.patience)
            if self.cell.point == .poll {
                // It asks when the lease should have run out, having heard nothing.
                try await proxy.lose(announcements: 1)
            }
            worker.send(.call(waits: false))
            guard self.cell.point != .enter else { return call }
            await within(Self.patience) {
                try? await other.store.untilAwaited(by: 1, group: self.groupName, key: "key")
            }
            switch self.cell.point {
            case .poll: self.finish.continuation.finish()
            case .leave: worker.send(.leave)
            case .subscribe: try await proxy.cut(.inbox)
            case .acquire, .enter, .renew, .complete, .release, .fence, .announcement: break
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
                } else if self.cell.point == .fence {
                    // Under the later lease: the history tells whether it is the greater one.
                    _ = try? await flight.fence()
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
        if survivors == .left || (victims == .left && self.cell.point != .leave) {
            report.problems.append("a caller was canceled by nobody")
        }
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
            problems += await worker.problemsOfEnding(within: Self.limit)
        }
        var judge = FlightJudge(begun: self.begun.tokens.withLock { $0 } + worker.begun, history: self.history)
        judge.judgeHistory()
        return problems + judge.problems
    }
}

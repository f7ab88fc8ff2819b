import FaultProxy
import Foundation
import History
import PrivateRedis
import SingleflightCLI
import SingleflightRedis
import Synchronization

/// Plays one cell: a worker process leads, two others wait for it; while its request is held its lease runs out, one of
/// the others leads, the other one waits for that one, and only then the request is carried out.
struct OvertakenRun: Sendable {
    private let cell: OvertakenCell
    private let redis: PrivateRedis
    private let tool: String
    private let groupName: String
    private let history = LeaseHistory()
    private let milestones = Milestones()
    private let begun = Begun()

    private final class Begun: Sendable {
        let tokens = Mutex<[String]>([])
    }

    private struct Call: Sendable {
        var end: CallEnd
        var at: ContinuousClock.Instant
        var inbox: String
    }

    private static let patience = Duration.seconds(30)
    private static let limit = MatrixTimes.bound + MatrixTimes.allowance

    init(_ cell: OvertakenCell, attempt: Int, redis: PrivateRedis, tool: String) {
        self.cell = cell
        self.redis = redis
        self.tool = tool
        self.groupName = "\(cell).\(attempt)"
    }

    func play() async throws -> CellReport {
        let plan = FlightWorker.Plan(group: self.groupName, rule: self.cell.rule)
        return try await WorkerProcess.with(self.tool, plan, on: self.redis, history: self.history) { worker, proxy in
            let others = try (0..<2).map { _ in
                try CellProcess(
                    .follower,
                    url: self.redis.url,
                    group: self.groupName,
                    rule: self.cell.rule,
                    history: self.history
                )
            }
            for other in others { try await other.store.untilReady(within: Self.patience) }
            return try await self.play(worker, proxy, others)
        }
    }

    private func play(_ worker: WorkerProcess, _ proxy: FaultProxy, _ others: [CellProcess]) async throws -> CellReport
    {
        var report = CellReport(cell: self.cell.description)
        try await proxy.arm(.holdRequest, at: self.cell.point.rawValue, on: .command)
        worker.send(.call(waits: true))
        _ = await worker.untilBegun(within: Self.patience)
        var calls = others.map { self.call($0) }
        try await self.untilAwaited(by: 2, others[0])
        switch self.cell.point {
        case .complete: worker.send(.finish)
        case .release: worker.send(.shutDown)
        case .fence: worker.send(.drawFence)
        default: break
        }
        report.struck = try await proxy.struck(within: Self.limit) != nil
        switch self.cell.blow {
        case .kill:
            worker.process.signal(SIGKILL)
            _ = await worker.process.exit()
        case .pause:
            await worker.process.pause()
        }

        if self.cell.rule == .cancel {
            // The flight ends for both, and there is another one.
            let ends = await self.ends(of: calls)
            if ends.contains(where: { $0?.end.ending != .canceled }) {
                report.problems.append(
                    "of the first flight they were told \(ends.map { $0?.end.ending.rawValue ?? "∞" })"
                )
            }
            calls = [self.call(others[0])]
            await self.milestones.wait(for: .heirBegan, within: Self.limit)
            calls.append(self.call(others[1]))
        }
        await self.milestones.wait(for: .heirBegan, within: Self.limit)
        try await self.untilAwaited(by: 1, others[0])
        let before = try await others[0].store.inspected(group: self.groupName, key: "key")
        // A machine that is too busy may have lost another lease meanwhile.
        report.struck = report.struck && self.isLedByHeir(before)
        try await proxy.letGo()
        let after = try await others[0].store.inspected(group: self.groupName, key: "key")
        if report.struck, !Self.isSameFlight(before, after) {
            report.problems.append("the late request made \(after) of \(before)")
        }
        if self.cell.blow == .pause { worker.process.signal(SIGCONT) }

        self.milestones.reach(.heirMayEnd)
        let over = ContinuousClock.now
        let ends = await self.ends(of: calls)
        switch self.cell.blow {
        case .kill: _ = await worker.untilGone(within: Self.patience)
        case .pause: _ = await worker.untilEnded(within: Self.limit)
        }
        report.waited = (ends.map { $0?.at } + [worker.end?.at]).compactMap { $0.map { $0 - over } }.reduce(.zero, max)
        self.judge(worker, ends, before.lease?.token, &report)
        report.problems += try await self.end(worker, others)
        report.problems += try await FaultMatrix.immortalKeys(of: self.groupName, on: self.redis)
        return report
    }

    // MARK: - What happens

    private func call(_ process: CellProcess) -> Task<Call, Never> {
        Task {
            let outcome = await process.group.run("key") { flight in
                let token = flight.token?.description ?? "none"
                self.begun.tokens.withLock { $0.append(token) }
                // Under the later lease: the history tells whether it is the greater one.
                if self.cell.point == .fence { _ = try? await flight.fence() }
                self.milestones.reach(.heirBegan)
                await self.milestones.wait(for: .heirMayEnd, within: Self.patience)
                return "follower \(token)"
            }
            return Call(end: CallEnd(outcome, hasLed: false), at: .now, inbox: process.store.inbox.description)
        }
    }

    private func untilAwaited(by count: Int, _ process: CellProcess) async throws {
        await within(Self.patience) {
            try? await process.store.untilAwaited(by: count, group: self.groupName, key: "key")
        }
    }

    private func ends(of calls: [Task<Call, Never>]) async -> [Call?] {
        var ends: [Call?] = []
        for call in calls { ends.append(await within(Self.limit) { await call.value }) }
        return ends
    }

    /// Whether the lease is held under the token of an operation that runs here, and by a takeover if there are any.
    private func isLedByHeir(_ inspection: LeaseInspection) -> Bool {
        guard let lease = inspection.lease, !lease.isExpired else { return false }
        return self.begun.tokens.withLock { $0 } == [lease.token.description]
            && lease.attempt == (self.cell.rule == .takeOver ? 1 : 0)
    }

    /// I9: a request under another token changes neither whose the flight is nor who waits for it.
    private static func isSameFlight(_ before: LeaseInspection, _ after: LeaseInspection) -> Bool {
        before.lease?.token == after.lease?.token && after.lease?.isExpired == false && before.waiters == after.waiters
    }

    // MARK: - What came of it

    private func judge(_ worker: WorkerProcess, _ ends: [Call?], _ heir: LeaseToken?, _ report: inout CellReport) {
        var judge = FlightJudge(begun: self.begun.tokens.withLock { $0 } + worker.begun, history: self.history)
        let endings = ends.map { judge.judge($0?.end, of: .follower, inbox: $0?.inbox) }
        report.leader =
            self.cell.blow == .kill ? .killed : judge.judge(worker.end?.0, of: .leader, inbox: worker.inbox)
        // The one who led then first.
        report.follower = endings.contains(.ownValue) ? .ownValue : endings[0]
        report.others = endings.contains(.ownValue) ? endings.filter { $0 != .ownValue } : [endings[1]]
        if ![.killed, .leaseLost, .canceled, .unavailable].contains(report.leader) {
            report.problems.append("the overtaken leader ended with \(report.leader.rawValue)")
        }
        if report.follower != .ownValue || ![[.pushedValue], [.polledValue]].contains(report.others) {
            report.problems.append("the others ended with \(endings.map(\.rawValue).joined())")
        }
        // A process that waited for the first flight alone is no waiter of the second.
        let told = self.history.records.compactMap { record -> Int? in
            guard case .complete(heir?.description, _, _, _) = record.request,
                case .accepted(let waiters) = record.reply
            else { return nil }
            return waiters
        }
        if told != [1] { judge.problems.append("the second leader was told that \(told) waited, and one did") }
        report.problems += judge.problems
        if report.waited > Self.limit { report.problems.append("a caller waited for \(report.waited)") }
        report.operations = judge.begun.count
        if judge.begun.count != 2 { report.problems.append("\(judge.begun.count) operations ran, and not two") }
    }

    /// All are shut down; only then is the history whole.
    private func end(_ worker: WorkerProcess, _ others: [CellProcess]) async throws -> [String] {
        var problems: [String] = []
        for other in others where await !other.stop(within: Self.limit) {
            problems.append("a survivor does not shut down")
        }
        if self.cell.blow == .pause {
            problems += await worker.problemsOfEnding(within: Self.limit)
        }
        var judge = FlightJudge(begun: self.begun.tokens.withLock { $0 } + worker.begun, history: self.history)
        judge.judgeHistory()
        return problems + judge.problems
    }
}

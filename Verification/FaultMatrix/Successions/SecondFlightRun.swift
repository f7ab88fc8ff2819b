import FaultProxy
import Foundation
import History
import PrivateRedis
import SingleflightRedis
import Synchronization

/// Plays one cell: three flights of one key. A worker process waits for the first and the third; the second must
/// neither count it nor tell it anything.
struct SecondFlightRun: Sendable {
    private let cell: SecondFlightCell
    private let redis: PrivateRedis
    private let tool: String
    private let groupName: String
    private let history = LeaseHistory()
    private let begun = Begun()

    private final class Begun: Sendable {
        let tokens = Mutex<[String]>([])
    }

    /// A call that leads until it is told to end.
    private struct Leading: Sendable {
        let began = AsyncStream.makeStream(of: Void.self)
        let finish = AsyncStream.makeStream(of: Void.self)
    }

    private static let patience = Duration.seconds(30)
    private static let limit = MatrixTimes.bound + MatrixTimes.allowance

    init(_ cell: SecondFlightCell, attempt: Int, redis: PrivateRedis, tool: String) {
        self.cell = cell
        self.redis = redis
        self.tool = tool
        self.groupName = "\(cell).\(attempt)"
    }

    func play() async throws -> CellReport {
        let plan = FlightWorker.Plan(group: self.groupName, rule: self.cell.rule)
        return try await WorkerProcess.with(self.tool, plan, on: self.redis, history: self.history) { worker, proxy in
            let (first, second) = (try self.process(), try self.process())
            for process in [first, second] { try await process.store.untilReady(within: Self.patience) }
            return try await self.play(worker, proxy, first, second)
        }
    }

    private func process() throws -> CellProcess {
        try CellProcess(
            .leader,
            url: self.redis.url,
            group: self.groupName,
            rule: self.cell.rule,
            history: self.history
        )
    }

    private func play(
        _ worker: WorkerProcess,
        _ proxy: FaultProxy,
        _ first: CellProcess,
        _ second: CellProcess
    ) async throws -> CellReport {
        var report = CellReport(cell: self.cell.description)
        let inbox = worker.inbox ?? ""

        let leading = Leading()
        let led = self.call(first, leading)
        report.struck = await self.waits(worker, for: leading, of: second)
        switch self.cell.end {
        case .completed: leading.finish.continuation.finish()
        case .revoked: try await self.revoke(second)
        case .shutDown: _ = await first.stop(within: Self.limit)
        }
        let firstEnd = await within(Self.limit) { await led.value }
        _ = await worker.untilEnded(within: Self.limit)
        let waiters = worker.end?.0

        try await self.mark("between", inbox, proxy)
        let alone = Leading()
        alone.finish.continuation.finish()
        let secondEnd = await within(Self.limit) { await self.call(second, alone).value }
        try await self.mark("after", inbox, proxy)
        let news = try await proxy.announcements.drop { $0 != "between" }.dropFirst().prefix { $0 != "after" }
        if !news.isEmpty { report.problems.append("who waited for the first flight was told \(Array(news))") }

        worker.forgetEnd()
        let again = Leading()
        let third = self.call(second, again)
        let isAwaited = await self.waits(worker, for: again, of: second)
        report.struck = report.struck && isAwaited
        again.finish.continuation.finish()
        let thirdEnd = await within(Self.limit) { await third.value }
        _ = await worker.untilEnded(within: Self.limit)

        var judge = FlightJudge(begun: self.begun.tokens.withLock { $0 } + worker.begun, history: self.history)
        judge.isRevoked = self.cell.end == .revoked
        let leader = first.store.inbox.description
        report.leader = judge.judge(firstEnd, of: .leader, inbox: leader)
        report.follower = judge.judge(waiters, of: .follower, inbox: inbox)
        report.others = [
            judge.judge(secondEnd, of: .leader, inbox: second.store.inbox.description),
            judge.judge(thirdEnd, of: .leader, inbox: second.store.inbox.description),
            judge.judge(worker.end?.0, of: .follower, inbox: inbox),
        ]
        self.judge(&report, [(secondEnd, 0), (thirdEnd, 1)])
        report.operations = judge.begun.count
        report.problems += judge.problems
        report.problems += try await self.end(worker, [first, second])
        report.problems += try await FaultMatrix.immortalKeys(of: self.groupName, on: self.redis)
        return report
    }

    // MARK: - What happens

    private func call(_ process: CellProcess, _ leading: Leading) -> Task<CallEnd, Never> {
        Task {
            let outcome = await process.group.run("key") { flight in
                let token = flight.token?.description ?? "none"
                self.begun.tokens.withLock { $0.append(token) }
                leading.began.continuation.finish()
                for await _ in leading.finish.stream {}
                try Task.checkCancellation()
                return "leader \(token)"
            }
            // Should it not have led, nobody is to wait for it.
            leading.began.continuation.finish()
            return CallEnd(outcome, hasLed: true)
        }
    }

    /// Lets the worker wait for a flight that is led; false if it does not come to that.
    private func waits(_ worker: WorkerProcess, for leading: Leading, of process: CellProcess) async -> Bool {
        await within(Self.patience) {
            for await _ in leading.began.stream {}
            worker.send(.call(waits: false))
            return (try? await process.store.untilAwaited(by: 1, group: self.groupName, key: "key")) != nil
        } ?? false
    }

    private func revoke(_ process: CellProcess) async throws {
        let key = try FlightKey(group: self.groupName, bytes: Array("key".utf8))
        let request = RevokeRequest(key: key, token: nil, by: "matrix", reason: "cell")
        _ = await process.recorded.answer(to: request)
    }

    /// Announces something to the worker, and waits until it has come as far as the proxy: all that was announced
    /// before has, too.
    private func mark(_ text: String, _ inbox: String, _ proxy: FaultProxy) async throws {
        try await self.redis.command("PUBLISH", "sf2:in:matrix:0:\(inbox)", text)
        await within(Self.patience) {
            // The proxy does not tell when; the pace of asking it.
            while (try? await proxy.announcements.contains(text)) == false {
                guard (try? await Task.sleep(for: .milliseconds(5))) != nil else { return }
            }
        }
    }

    // MARK: - What came of it

    /// - Parameter flights: how each ended for its leader, and how many processes waited for it.
    private func judge(_ report: inout CellReport, _ flights: [(end: CallEnd?, waiters: Int)]) {
        let expected: [Ending] =
            switch (self.cell.end, self.cell.rule) {
            case (.completed, _): [.ownValue, .pushedValue]
            case (.revoked, _): [.revoked, .revoked]
            case (.shutDown, .cancel): [.canceled, .canceled]
            case (.shutDown, .takeOver): [.canceled, .ownValue]
            }
        let isLost = self.history.records.contains { record in
            if case .failed = record.reply { true } else { false }
        }
        if isLost {
            // A machine that is too busy: it says nothing about what it is played for.
            report.struck = false
        } else {
            let own: [Ending] = [.ownValue, .ownValue, .pushedValue]
            let endings = [report.leader, report.follower] + report.others
            if endings.map({ $0 == .polledValue ? .pushedValue : $0 }) != expected + own {
                report.problems.append("they ended with \(report.endings)")
            }
        }
        for (end, waiters) in flights {
            let told = self.history.records.compactMap { record -> Int? in
                guard case .complete(let token, _, _, _) = record.request, token == end?.token,
                    case .accepted(let waiters) = record.reply
                else { return nil }
                return waiters
            }
            if told != [waiters] {
                report.problems.append("a leader was told that \(told) waited, and it were \(waiters)")
            }
        }
    }

    /// All are shut down; only then is the history whole.
    private func end(_ worker: WorkerProcess, _ processes: [CellProcess]) async throws -> [String] {
        var problems: [String] = []
        for process in processes where await !process.stop(within: Self.limit) {
            problems.append("a leader does not shut down")
        }
        problems += await worker.problemsOfEnding(within: Self.limit)
        var judge = FlightJudge(begun: self.begun.tokens.withLock { $0 } + worker.begun, history: self.history)
        judge.judgeHistory()
        return problems + judge.problems
    }
}

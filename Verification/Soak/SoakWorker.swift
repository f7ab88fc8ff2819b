import Foundation
import SingleflightCLI
import SingleflightRedis
import Synchronization

/// A worker process: callers that ask for keys again and again, and check what they get.
final class SoakWorker: Sendable {
    /// How far the worker is with its life.
    private enum Phase {
        case working
        /// The store was told to shut down.
        case shuttingDown
        /// It has.
        case shutDown
    }

    private struct State {
        var period = WorkerPeriod()
        /// When the call was made that each caller is in.
        var calls: [Int: MonotonicTime] = [:]
        var runs = 0
        var isDraining = false
        var phase = Phase.working
        /// How many operations are still to return a big value.
        var bigValues = 0
    }

    private let settings: SoakSettings
    private let seed: UInt64
    private let own: WorkerSettings
    private let canceling: DistributedGroup<String, SoakValue>
    private let takingOver: DistributedGroup<String, SoakValue>
    private let state = Mutex(State())

    /// - Parameter own: what this process may have different from others.
    init(store: any LeaseStore, settings: SoakSettings, own: WorkerSettings, seed: UInt64) throws {
        self.settings = settings
        self.own = own
        self.seed = seed
        func group(_ name: String, _ group: WorkerSettings.Group) throws -> DistributedGroup<String, SoakValue> {
            let configuration = DistributedGroupConfiguration(
                lease: .init(
                    duration: own.lease,
                    grace: own.grace,
                    leaderLoss: group.leaderLoss,
                    onLost: group.onLost
                ),
                results: .init(
                    maximumBytes: own.maximumBytes,
                    retention: own.retention,
                    typedFailures: .codable(SoakFailure.self)
                ),
                limits: .init(flight: SoakSettings.maximumFlight),
                unavailable: group.unavailable
            )
            return try DistributedGroup(name, store: store, configuration: configuration)
        }
        self.canceling = try group("canceling", own.canceling)
        self.takingOver = try group("taking-over", own.takingOver)
    }

    /// Makes calls until ``drain()``, and returns when every caller has its outcome.
    func run() async {
        await withTaskGroup(of: Void.self) { callers in
            for caller in 0..<self.settings.callers {
                callers.addTask { await self.call(as: caller) }
            }
        }
    }

    func drain() { self.state.withLock { $0.isDraining = true } }

    /// The next few operations whose key has no history return a big value.
    func returnBigValues() { self.state.withLock { $0.bigValues += SoakSettings.bigValues } }

    /// Goes on with calls while `shutDown` shuts the store down, and for a moment after that. Calls that are made then
    /// must be told.
    func underLoad(_ shutDown: () async -> Void) async {
        self.state.withLock { $0.phase = .shuttingDown }
        await shutDown()
        self.state.withLock { $0.phase = .shutDown }
        // How long the moment is; each caller makes some calls in it.
        try? await Task.sleep(for: .milliseconds(300))
        self.drain()
    }

    /// What happened since the last time.
    func takePeriod() -> WorkerPeriod {
        self.state.withLock { state in
            var period = state.period
            period.oldestCall = state.calls.values.min()
            state.period = WorkerPeriod()
            return period
        }
    }

    private func call(as caller: Int) async {
        var random = FlightRandom.seeded(self.seed &+ UInt64(caller) &* 7919)
        while !self.state.withLock({ $0.isDraining }) {
            let plan = CallPlan(keys: self.settings.keys, using: &random)
            let phase = self.state.withLock { state in
                state.calls[caller] = .now
                return state.phase
            }
            let call = Task {
                await self.group(of: plan.key).run("key:\(plan.key)") { try await self.operate(plan, $0) }
            }
            // The caller that loses patience is part of the load; nothing waits for this.
            let impatience = plan.patience.map { patience in
                Task {
                    try await Task.sleep(for: patience)
                    call.cancel()
                }
            }
            self.note(await call.value, of: plan, madeWhen: phase)
            impatience?.cancel()
            self.state.withLock { $0.calls[caller] = nil }
            // What a caller does between two calls; the load's measure.
            try? await Task.sleep(for: plan.pause)
        }
    }

    private static func isCanceling(_ key: Int) -> Bool { key.isMultiple(of: 2) }

    private func group(of key: Int) -> DistributedGroup<String, SoakValue> {
        Self.isCanceling(key) ? self.canceling : self.takingOver
    }

    private func operate(_ plan: CallPlan, _ flight: Flight<String>) async throws -> SoakValue {
        let start = MonotonicTime.now
        let (number, isBig) = self.state.withLock { state in
            state.runs += 1
            let isBig = state.bigValues > 0 && !plan.isRecorded
            if isBig { state.bigValues -= 1 }
            return (state.runs, isBig)
        }
        let run = "\(getpid())-\(number)"
        let token = flight.token?.description
        var fence: UInt64?
        // On every way out. The end is read before the lease: who leads afterwards led then.
        defer {
            let end = MonotonicTime.now
            let record = OperationRecord(
                key: plan.key,
                run: run,
                token: token,
                lastToken: flight.token?.description ?? token,
                start: start,
                end: end,
                isCurrent: flight.isCurrent,
                fence: fence
            )
            self.state.withLock { $0.period.operations.append(record) }
        }
        // The work that is shared.
        try await Task.sleep(for: plan.work)
        if plan.drawsFence { fence = try? await flight.fence().rawValue }
        let leadsAgain = (Self.isCanceling(plan.key) ? self.own.canceling : self.own.takingOver).onLost == .leadAgain
        if plan.fails { throw SoakFailure(key: plan.key, run: run, token: token, leadsAgain: leadsAgain) }
        let filler = String(repeating: "x", count: isBig ? plan.bigFiller : plan.filler)
        return SoakValue(key: plan.key, run: run, token: token, leadsAgain: leadsAgain, filler: filler)
    }

    private static let toldOfShutdown = "canceled: \(Cancellation.leaderShutDown)"
    private static let impatient = "canceled: \(Cancellation.callerCanceled)"
    /// What a group may say in the troubles that there are.
    private static let troubles: [DistributedGroupError.Code] = [.unavailable, .resultTooLarge, .flightTooLong]

    private func note(_ outcome: Outcome<SoakValue>, of plan: CallPlan, madeWhen phase: Phase) {
        var end: String
        var result: SoakFailure?
        switch outcome {
        case .canceled(let reason): end = "canceled: \(reason)"
        case .complete(let completion):
            let how = completion.coordination == .degraded ? SoakReport.withoutStore : ""
            switch completion.result {
            case .success(let value):
                end = "value as \(completion.role)\(how)"
                result = SoakFailure(
                    key: value.key,
                    run: value.run,
                    token: value.token,
                    leadsAgain: value.leadsAgain
                )
            case .failure(let failure as SoakFailure):
                end = "error as \(completion.role)\(how)"
                result = failure
            case .failure(let error as DistributedGroupError):
                end = Self.troubles.contains(error.code) ? "\(error.code)" : "unexpected: \(error)"
            case .failure(is CancellationError): end = "operation canceled\(how)"
            case .failure(let error): end = "unexpected: \(error)"
            }
        }
        self.state.withLock { state in
            switch (phase, state.phase) {
            case (.shutDown, _):
                // Nobody is served by a store that is gone, whatever the policy.
                if ![Self.toldOfShutdown, Self.impatient].contains(end) {
                    state.period.wrong.append("a call that was made after the shutdown ended as \(end)")
                }
                end += ", made after the shutdown"
            case (_, .shuttingDown), (_, .shutDown):
                end += ", at the shutdown"
            case (_, .working):
                break
            }
            state.period.ends[end, default: 0] += 1
            guard let result else {
                if end.hasPrefix("unexpected") { state.period.wrong.append(end) }
                return
            }
            if result.key != plan.key {
                state.period.wrong.append("the result of key \(result.key) for key \(plan.key)")
            }
            guard case .complete(let completion) = outcome, completion.coordination == .coordinated else { return }
            // The lease under which a result is handed in may not be the one under which its operation began, where it
            // was to go on under another; the ledger knows then whose result that was.
            guard let token = completion.token?.description, token == result.token || result.leadsAgain else {
                state.period.wrong.append("the result of \(result.token ?? "no lease") under another lease")
                return
            }
            state.period.results.append(ResultRecord(token: token, run: result.run))
        }
    }
}

/// What one call is like.
private struct CallPlan {
    let key: Int
    let work: Duration
    let pause: Duration
    /// When the caller leaves, if it does not wait.
    let patience: Duration?
    let fails: Bool
    let drawsFence: Bool
    let filler: Int
    /// In place of it, where a big value is asked for.
    let bigFiller: Int

    /// Whether what is asked about the key is written down.
    var isRecorded: Bool { SoakHistory.isRecorded(number: self.key) }

    init(keys: Int, using random: inout FlightRandom) {
        // Half of the calls are for a few hot keys, so that there is something to share.
        let isHot = Bool.random(using: &random)
        self.key = Int.random(in: 0..<(isHot ? min(keys, 20) : keys), using: &random)
        switch Int.random(in: 0..<100, using: &random) {
        case 0: self.work = .seconds(3)  // Hangs: past the longest flight.
        case 1..<10: self.work = .milliseconds(Int.random(in: 200...500, using: &random))  // Longer than a lease.
        default: self.work = .milliseconds(Int.random(in: 0...40, using: &random))
        }
        self.pause = .milliseconds(Int.random(in: 10...80, using: &random))
        let isImpatient = Int.random(in: 0..<20, using: &random) == 0
        self.patience = isImpatient ? .milliseconds(Int.random(in: 0...60, using: &random)) : nil
        self.fails = Int.random(in: 0..<20, using: &random) == 0
        self.drawsFence = Int.random(in: 0..<20, using: &random) == 0
        self.filler = Int.random(in: 0..<50, using: &random) == 0 ? 70_000 : 20
        self.bigFiller = Int.random(in: 500_000...4_000_000, using: &random)
    }
}

import HiredisClient
import History
import PrivateRedis
import SingleflightRedis
import SingleflightTestKit
import TestSupport
import Testing

/// Three calls on a server that is brought into a state and out of it: what each got, after how long.
struct ServerTrial: Sendable {
    static let commandTimeout = Duration.milliseconds(500)
    static let lease = Duration.seconds(2)
    static let grace = Duration.seconds(1)
    /// Within which every follower is to be told something: lease, grace, jitter, two command timeouts (I7).
    static let followerBound = lease + grace + lease / 10 + commandTimeout * 2

    /// What a caller was told, and after how long.
    struct Told: Sendable {
        var answer: Answer
        var after: Duration
    }

    /// From the call on.
    var newcomer: Told
    /// From the operation's end on, if it ended; else from the moment when the state came about.
    var leader: Told
    /// From the moment when the state came about.
    var follower: Told
    /// From the moment when the server was well until calls of both processes got values and both inboxes were
    /// subscribed.
    var recovery: Duration
    /// Keys that nothing but somebody with a broom removes.
    var leftBehind: [String]
    /// Flights that somebody still waits for in one of the processes.
    var stillInFlight: Int
    /// What no store that keeps its promises could have answered to both processes.
    var violations: [String]

    /// The leader lost its lease, or the follower was told that it cannot ask, before the state could come about: the
    /// machine was too busy for a lease of two seconds.
    private struct TooBusy: Error {}

    static func run(_ state: ServerState, _ stay: ServerState.Stay) async throws -> ServerTrial {
        for _ in 0..<4 {
            do {
                return try await self.attempt(state, stay)
            } catch is TooBusy {}
        }
        return try await self.attempt(state, stay)
    }

    private static func attempt(_ state: ServerState, _ stay: ServerState.Stay) async throws -> ServerTrial {
        var lines = state.configuration
        var listening = PrivateRedis.Configuration.Listening.unixSocket
        if lines.contains("cluster-enabled yes") {
            if ServerVersion.current.isBefore7 {
                // The bus of a cluster has a port, which is counted from the server's own.
                listening = .unixSocketAndTCP(.free)
            } else {
                // Also where the server itself has none; not one that PrivateRedis picks.
                lines.append("cluster-port \(Int.random(in: 12_000..<19_000))")
            }
        }
        let configuration = PrivateRedis.Configuration(
            listening: listening,
            users: [ServerStage.administrator, ServerStage.worker],
            extraLines: ServerVersion.current.lines(lines)
        )
        return try await PrivateRedis.with(configuration) { redis in
            try await ServerStage.with(redis, stay: stay) { stage in
                try await state.prepare(stage)
                let url = stage.url(state.login)
                let history = LeaseHistory()
                var trial = try await TrialProcess.with(url, "one", history) { one in
                    try await TrialProcess.with(url, "two", history) { two in
                        try await Self.run(state, stage, one, two, history)
                    }
                }
                // With what both do when they shut down.
                trial.violations = state.memory == .comesBack ? [] : history.violations()
                return trial
            }
        }
    }

    private static func run(
        _ state: ServerState,
        _ stage: ServerStage,
        _ one: TrialProcess,
        _ two: TrialProcess,
        _ history: LeaseHistory
    ) async throws -> ServerTrial {
        try await one.untilSubscribed()
        try await two.untilSubscribed()
        let gate = Gate()
        let leader = one.begin("led") {
            await gate.wait()
            return "value"
        }
        await gate.untilArrived()
        let follower = two.begin("led") { "another" }
        // On a busy machine the follower may be told already that it cannot ask: nothing would end the leader's flight
        // then.
        let answered = Gate()
        answered.open()
        Task {
            _ = await follower.value
            await answered.wait()
        }
        let key = try FlightKey(group: "pages", bytes: Array("led".utf8))
        try await until("the follower to be registered") {
            if try await !one.store.inspected(key).waiters.isEmpty { return true }
            guard one.group.inFlight == 1, answered.arrivals == 0 else {
                gate.open()
                throw TooBusy()
            }
            return false
        }

        if state.memory == .isLost { history.beginLoss() }
        try await state.strike(stage)
        let struck = ContinuousClock.now
        let newcomer = await Self.newcomer(one, expected: state.answers(stage.stay).newcomer)
        var leaderFrom = struck
        switch stage.stay {
        case .brief:
            leaderFrom = .now
            gate.open()
            _ = await leader.value
        case .lasting:
            // How long the state lasts, no less than a lease needs to end and to be forgotten. A leader that still
            // leads then is done.
            try await Task.sleep(for: .milliseconds(stage.milliseconds))
            gate.open()
            _ = (await leader.value, await follower.value)
        }

        try await state.heal(stage)
        let healed = ContinuousClock.now
        history.endLoss()
        try await one.untilServed()
        try await two.untilServed()
        let recovery = ContinuousClock.now - healed
        let (leaderTold, followerTold) = (await leader.value, await follower.value)
        gate.open()
        return ServerTrial(
            newcomer: newcomer,
            leader: Told(answer: leaderTold.answer, after: leaderTold.at - leaderFrom),
            follower: Told(answer: followerTold.answer, after: followerTold.at - struck),
            recovery: recovery,
            leftBehind: try await Self.leftBehind(stage),
            stillInFlight: one.group.inFlight + two.group.inFlight,
            violations: []
        )
    }

    /// A call that comes while the server is in the state.
    ///
    /// Some states take a moment to come about, and on a busy machine an answer may come too late to be told: so it may
    /// be asked again, each time for another key, five times or for a second.
    private static func newcomer(_ process: TrialProcess, expected: [ExpectedAnswer]) async -> Told {
        let began = ContinuousClock.now
        var attempt = 0
        while true {
            attempt += 1
            let asked = ContinuousClock.now
            let answer = await process.begin("new \(attempt)") { "value" }.value.answer
            let told = Told(answer: answer, after: ContinuousClock.now - asked)
            let isLast = attempt >= 5 && ContinuousClock.now - began >= .seconds(1)
            if isLast || expected.contains(where: { $0.allows(answer) }) { return told }
        }
    }

    /// Every key has a time to live, and no lease outlives what it was given at most.
    private static func leftBehind(_ stage: ServerStage) async throws -> [String] {
        var names: [String] = []
        for database in [1, 0] {
            // A cluster has one database only.
            guard (try? await stage.ask("SELECT \(database)")) != nil else { continue }
            for name in try await stage.ask("KEYS sf2:*").array ?? [] {
                guard let name = name.string, !name.contains(" ") else { continue }
                let left = try await stage.ask("PTTL \(name)").integer ?? 0
                let isLease = name.contains("}:lease:")
                let most = (isLease ? self.lease + self.grace : .seconds(60)) / .milliseconds(1)
                if left == -1 || Double(left) > most { names.append("\(name): \(left) ms") }
            }
        }
        return names
    }
}

/// A process's store and group.
struct TrialProcess: Sendable {
    let store: RedisLeaseStore
    let group: DistributedGroup<String, String>

    static func with<Result: Sendable>(
        _ url: String,
        _ label: String,
        _ history: LeaseHistory,
        _ body: (TrialProcess) async throws -> Result
    ) async throws -> Result {
        let configuration = RedisLeaseStoreConfiguration(
            namespace: "test",
            label: label,
            commandTimeout: ServerTrial.commandTimeout
        )
        return try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { store in
            let configuration = DistributedGroupConfiguration(
                lease: .init(duration: ServerTrial.lease, grace: ServerTrial.grace, onLost: .cancel),
                results: .init(retention: .seconds(3)),
                unavailable: .fail
            )
            let recorded = RecordingLeaseStore(store, in: history)
            let group = try DistributedGroup<String, String>("pages", store: recorded, configuration: configuration)
            return try await body(TrialProcess(store: store, group: group))
        }
    }

    /// Makes a call, whose task ends with the answer and the time when it came.
    func begin(
        _ key: String,
        _ operation: @escaping @Sendable () async -> String
    ) -> Task<(answer: Answer, at: ContinuousClock.Instant), Never> {
        Task {
            let outcome = await self.group.run(key) { _ in await operation() }
            return (Answer(outcome), .now)
        }
    }

    func untilSubscribed() async throws {
        try await until("the inbox of \(self.store.label)") {
            do {
                try await self.store.untilSubscribed()
                return true
            } catch {
                return false
            }
        }
    }

    /// Returns once a call got a value with Redis's knowledge, and announcements are heard.
    func untilServed() async throws {
        var attempt = 0
        try await until("a value for \(self.store.label)") {
            attempt += 1
            let call = self.begin("served \(self.store.label) \(attempt)") { "value" }
            return if case .value = await call.value.answer { true } else { false }
        }
        try await self.untilSubscribed()
    }
}

import SingleflightLease
import SingleflightTestKit
import Synchronization
import TestSupport
import Testing

/// Several processes of a test on one server with one clock.
struct Cluster {
    let clock = ManualLeaseClock()
    let server: InMemoryLeaseServer
    /// The flight that most tests are about.
    let key: FlightKey

    init() throws {
        self.server = InMemoryLeaseServer(clock: self.clock)
        self.key = try FlightKey(group: "group", bytes: Array("key".utf8))
    }

    func process(_ label: String, _ configuration: DistributedGroupConfiguration = .test) throws -> Process {
        let store = InMemoryLeaseStore(server: self.server, label: label)
        return Process(
            store: store,
            group: try DistributedGroup(
                "group",
                store: store,
                configuration: configuration,
                codec: JSONCodec<String>(),
                runtime: .inline(random: { .system })
            )
        )
    }

    /// Waits until exactly this many processes follow the key's flight, and each of them has set its timer.
    ///
    /// The server knows of a follower before the thread that asked for it has done all that follows from the answer. A
    /// test that moved the clock meanwhile would have that thread set its timer by a time that is over.
    func untilFollowed(by count: Int) async {
        await self.server.untilWaiters(of: self.key, count)
        // The leader's, and one for each of them.
        await self.clock.untilScheduled(1 + count)
    }

    /// Lets a lease's time pass, in which a process that gave up a request to lead goes on handing back what it may be
    /// granted.
    func letRequestsLapse() {
        self.clock.advance(by: .seconds(3))
    }

    /// Checks that nothing stays behind once everything that is kept for a time has gone.
    func expectNothingLeft(_ processes: Process..., sourceLocation: SourceLocation = #_sourceLocation) async {
        for process in processes {
            await process.store.untilIdle()
            #expect(process.group.inFlight == 0, sourceLocation: sourceLocation)
            #expect(process.store.listeningKeyCount == 0, sourceLocation: sourceLocation)
        }
        #expect(self.clock.timerCount == 0, sourceLocation: sourceLocation)
        self.clock.advance(by: .seconds(60))
        #expect(self.server.isEmpty, sourceLocation: sourceLocation)
    }
}

/// One process: its store and its group.
struct Process: Sendable {
    let store: InMemoryLeaseStore
    let group: DistributedGroup<String, String>

    func call(_ work: Work, unavailable: UnavailablePolicy? = nil) -> Task<Outcome<String>, Never> {
        let group = self.group
        return Task { await group.run("key", unavailable: unavailable) { try await work.run($0) } }
    }

    /// A call that has joined its flight when this returns.
    ///
    /// A call that waits for a limited time schedules the end of its wait once it has joined.
    func joinedCall(_ work: Work, clock: ManualLeaseClock) async -> Task<Outcome<String>, Never> {
        let timers = clock.timerCount
        let group = self.group
        let task = Task { await group.run("key", waitingAtMost: .seconds(3000)) { try await work.run($0) } }
        await clock.untilScheduled(timers + 1)
        return task
    }

    /// From now on these requests never reach the server.
    func cutOff(_ operations: Set<InMemoryLeaseStore.Operation> = Set(InMemoryLeaseStore.Operation.allCases)) {
        self.store.onRequest { operations.contains($0) ? .requestLost(.cutOff) : .none }
    }
}

extension LeaseStoreError {
    static let cutOff = LeaseStoreError(.unavailable, "cut off", mayHaveExecuted: true)
}

extension DistributedGroupConfiguration {
    /// Lease 3 s (a renewal each second, a margin of 150 ms), grace 2 s, retention 4 s. A lost lease ends its flight.
    static let test = DistributedGroupConfiguration(
        lease: .init(duration: .seconds(3), grace: .seconds(2), onLost: .cancel),
        results: .init(retention: .seconds(4))
    )

    static func test(_ change: (inout DistributedGroupConfiguration) -> Void) -> DistributedGroupConfiguration {
        var configuration = Self.test
        change(&configuration)
        return configuration
    }
}

/// An operation whose end the test decides.
final class Work: Sendable {
    private struct State {
        var flights: [Flight<String>] = []
        var result: Result<String, any Error>?
        var running: [Int: CheckedContinuation<Result<String, any Error>, Never>] = [:]
        var canceled = 0
        var onStart: [(count: Int, waiter: Waiter)] = []
        var onCancel: [Waiter] = []
    }

    private let state = Mutex(State())

    /// How often it was started.
    var starts: Int { self.state.withLock { $0.flights.count } }
    var cancellations: Int { self.state.withLock { $0.canceled } }
    /// The flight of its last start.
    var flight: Flight<String>? { self.state.withLock { $0.flights.last } }

    /// Runs until ``finish(_:)``, or until its task is canceled.
    func run(_ flight: Flight<String>) async throws -> String {
        let (index, started) = self.state.withLock { state in
            state.flights.append(flight)
            let count = state.flights.count
            let ready = state.onStart.filter { $0.count <= count }
            state.onStart.removeAll { $0.count <= count }
            return (count, ready)
        }
        for start in started {
            start.waiter.resume()
        }
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let result = self.state.withLock { state -> Result<String, any Error>? in
                    if let result = state.result { return result }
                    if Task.isCancelled { return .failure(CancellationError()) }
                    state.running[index] = continuation
                    return nil
                }
                if let result {
                    continuation.resume(returning: result)
                }
            }
        } onCancel: {
            let (running, waiters) = self.state.withLock { state in
                state.canceled += 1
                defer { state.onCancel = [] }
                return (state.running.removeValue(forKey: index), state.onCancel)
            }
            running?.resume(returning: .failure(CancellationError()))
            for waiter in waiters {
                waiter.resume()
            }
        }.get()
    }

    func finish(_ result: Result<String, any Error> = .success("value")) {
        let running = self.state.withLock { state in
            state.result = result
            defer { state.running = [:] }
            return state.running.values.map { $0 }
        }
        for continuation in running {
            continuation.resume(returning: result)
        }
    }

    func untilStarted(_ count: Int = 1, sourceLocation: SourceLocation = #_sourceLocation) async {
        await suspended(at: sourceLocation) {
            "\(count) starts of the operation; \(self.starts) came"
        } until: { waiter in
            let isThere = self.state.withLock { state in
                if state.flights.count >= count { return true }
                state.onStart.append((count, waiter))
                return false
            }
            if isThere {
                waiter.resume()
            }
        }
    }

    func untilCanceled(sourceLocation: SourceLocation = #_sourceLocation) async {
        await suspended(at: sourceLocation) {
            "the operation's cancellation"
        } until: { waiter in
            let isThere = self.state.withLock { state in
                if state.canceled > 0 { return true }
                state.onCancel.append(waiter)
                return false
            }
            if isThere {
                waiter.resume()
            }
        }
    }
}

struct Failure: Error, Hashable, Codable {
    var reason = "failed"
}

extension Outcome {
    /// The completion, or the end of the test.
    func completion(sourceLocation: SourceLocation = #_sourceLocation) throws -> Completion<Value> {
        var completion: Completion<Value>?
        if case .complete(let found) = self { completion = found }
        return try #require(completion, "\(self)", sourceLocation: sourceLocation)
    }

    var cancellation: Cancellation? {
        if case .canceled(let reason) = self { reason } else { nil }
    }
}

import Dispatch
import Singleflight
import SingleflightLease
import SingleflightTestKit
import Testing

/// Callers that live on an actor, and use its state in what they hand to a group. That this compiles without a warning
/// is half of the test.
@Suite("Calls from inside of actors", .timeLimit(.minutes(4)))
struct IsolationTests {
    @Test("a handle's work and what runs on its behalf run where the caller does, and may use its state")
    func handles() async throws {
        let home = Home(try Cluster().process("a").group)
        try await home.leadsDistributed()
        try await home.leadsLocally()
        #expect(await home.steps == ["work", "inside", "work", "inside"])
    }

    @Test("an operation runs in a task of its own, off the caller's actor", arguments: [true, false])
    func operations(isDistributed: Bool) async throws {
        let home = Home(try Cluster().process("a").group)
        #expect(try await !home.runs(isDistributed ? home.flights : home.local))
    }

    @Test("a class on the main actor calls without leaving it but for the operation")
    func mainActor() async throws {
        let screen = await Screen(try Cluster().process("a").group)
        try await screen.load()
        #expect(await screen.text == "loaded")
    }
}

/// What is not `Sendable`, and stays with its actor.
private final class Notes {
    var text = ""
}

/// Lives on a queue of its own, so that it can be seen who runs there.
private actor Home {
    private let queue = HomeQueue()
    private let notes = Notes()
    private(set) var steps: [String] = []
    let flights: DistributedGroup<String, String>
    let local = Group<String, String>()

    nonisolated var unownedExecutor: UnownedSerialExecutor { self.queue.asUnownedSerialExecutor() }

    init(_ flights: DistributedGroup<String, String>) {
        self.flights = flights
    }

    private func step(_ name: String) {
        #expect(HomeQueue.isCurrent)
        self.steps.append(name)
    }

    func leadsDistributed() async throws {
        guard case .leader(let leader) = await self.flights.entry("key") else { throw Failure(reason: "it follows") }
        #expect(HomeQueue.isCurrent)
        _ = try await leader.fence()
        let outcome = await leader.perform {
            self.step("work")
            let notes = await leader.onBehalf { () async -> Notes in
                self.step("inside")
                return self.notes
            }
            notes.text = "written"
            return notes.text
        }
        #expect(HomeQueue.isCurrent)
        #expect(try outcome.get() == "written")
    }

    func leadsLocally() async throws {
        guard case .leader(let leader) = self.local.entry("key") else { throw Failure(reason: "it follows") }
        let outcome = await leader.perform {
            self.step("work")
            let notes = await leader.onBehalf { () async -> Notes in
                self.step("inside")
                return self.notes
            }
            return notes.text
        }
        #expect(HomeQueue.isCurrent)
        #expect(try outcome.get() == "written")
    }

    /// Whether the operation ran at home.
    func runs(_ group: any Coalescing<String, String>) async throws -> Bool {
        defer { #expect(HomeQueue.isCurrent) }
        return try await group.value("key") { "\(HomeQueue.isCurrent)" } == "true"
    }
}

private final class HomeQueue: SerialExecutor {
    private static let mark = DispatchSpecificKey<Bool>()
    private let queue = DispatchQueue(label: "home")

    static var isCurrent: Bool { DispatchQueue.getSpecific(key: self.mark) ?? false }

    init() {
        self.queue.setSpecific(key: Self.mark, value: true)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        self.queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}

@MainActor
private final class Screen {
    private(set) var text = ""
    private let notes = Notes()
    private let flights: DistributedGroup<String, String>

    init(_ flights: DistributedGroup<String, String>) {
        self.flights = flights
    }

    func load() async throws {
        self.notes.text = try await self.flights.value("key") { _ in "loaded" }
        self.text = self.notes.text
        let outcome = await self.flights.follow("key")
        #expect(throws: Cancellation.noFlight) { try outcome.get() }
    }
}

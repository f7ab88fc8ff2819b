import Dispatch
import Testing

@testable import Singleflight

@Suite("Executors")
struct ExecutorTests {
    @Test(
        "the operation of an actor's caller keeps off the actor's thread",
        arguments: [.whenAbandoned, .never, .withLeader] as [CancellationPolicy]
    )
    func actor(policy: CancellationPolicy) async throws {
        let home = Home()
        #expect(try await !home.call(policy))
    }
}

/// Lives on a queue of its own.
private actor Home {
    private let queue = HomeQueue()
    private let group = Group<String, Bool>()

    nonisolated var unownedExecutor: UnownedSerialExecutor { self.queue.asUnownedSerialExecutor() }

    /// Whether the operation ran at home.
    func call(_ policy: CancellationPolicy) async throws -> Bool {
        #expect(HomeQueue.isCurrent)
        defer { #expect(HomeQueue.isCurrent) }
        return try await self.group.value("key", cancellation: policy) { HomeQueue.isCurrent }
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

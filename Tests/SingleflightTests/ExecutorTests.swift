import Foundation
import Testing

@testable import Singleflight

@Suite("Executors")
struct ExecutorTests {
    @MainActor
    @Test(
        "the operation of a caller on the main actor keeps off the main thread",
        arguments: [.whenAbandoned, .never, .withLeader] as [CancellationPolicy]
    )
    func mainActor(policy: CancellationPolicy) async throws {
        let group = Group<String, Bool>()
        MainActor.assertIsolated()
        let isOnMainThread = try await group.value("key", cancellation: policy) { isMainThread }
        #expect(!isOnMainThread)
        #expect(isMainThread, "and the caller is back where it was")
    }
}

/// Not available to asynchronous code under its own name.
private var isMainThread: Bool { Thread.isMainThread }

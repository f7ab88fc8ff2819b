import FaultProxy
import History
import PrivateRedis
import SingleflightCLI
import SingleflightRedis
import TestSupport
import Testing

@testable import FaultMatrix

/// What a real process does with its file descriptors.
@Suite("A worker process's descriptors", .keepsBusy, .timeLimit(.minutes(5)))
struct WorkerDescriptorTests {
    private static let patience = Duration.seconds(30)

    @Test("when there are none left, its calls end with a typed error, and all is well once there are some again")
    func exhaustion() async throws {
        try await withWorker { worker, proxy, _ in
            worker.send(.exhaustDescriptors)
            try #require(await worker.untilExhausted(within: Self.patience))
            // The connection breaks; another cannot be made.
            try await proxy.arm(.resetBeforeRequest, at: "acquire", on: .command)
            worker.send(.call(waits: false))
            try #require(await worker.untilEnded(within: Self.patience))
            #expect(worker.end?.0.ending == .unavailable)

            worker.send(.freeDescriptors)
            try #require(await worker.untilFreed(within: Self.patience))
            // The client tries to connect every now and then.
            let deadline = ContinuousClock.now.advanced(by: Self.patience)
            while worker.end?.0.ending != .ownValue, ContinuousClock.now < deadline {
                worker.forgetEnd()
                worker.send(.call(waits: false))
                try #require(await worker.untilEnded(within: Self.patience))
            }
            #expect(worker.end?.0.ending == .ownValue)
        }
    }

    /// Broke once: SwiftNIO opens sockets without close-on-exec.
    @Test("are not inherited by its children: a child that lives on must not keep a dead leader's connections open")
    func inheritance() async throws {
        try await withWorker { worker, _, _ in
            worker.send(.listChildsDescriptors)
            try #require(await worker.untilListed(within: Self.patience))
            let descriptors = try #require(worker.childsDescriptors)
            // What it has to have is a descriptor of its own, for the directory that it lists.
            #expect(!descriptors.isEmpty)
            let inherited = descriptors.filter { $0.contains("socket:") }
            #expect(inherited == [])
        }
    }

    private func withWorker(
        _ body: (WorkerProcess, FaultProxy, LeaseHistory) async throws -> Void
    ) async throws {
        try await FaultMatrix.withRedis { redis in
            let history = LeaseHistory()
            let plan = FlightWorker.Plan(group: "descriptors", rule: .cancel)
            try await WorkerProcess.with(try MatrixTests.tool, plan, on: redis, history: history) { worker, proxy in
                try await body(worker, proxy, history)
            }
            #expect(history.violations() == [])
        }
    }
}

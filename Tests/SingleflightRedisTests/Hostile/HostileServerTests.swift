import Foundation
import SingleflightLease
import TestSupport
import Testing

/// Servers that answer with anything but what they should.
@Suite("A hostile server", .keepsBusy, .timeLimit(.minutes(20)))
struct HostileServerTests {
    private static let environment = ProcessInfo.processInfo.environment
    /// `SINGLEFLIGHT_HOSTILE_SESSIONS` makes a run longer.
    private static let sessions = environment["SINGLEFLIGHT_HOSTILE_SESSIONS"].flatMap { Int($0) } ?? 400
    /// `SINGLEFLIGHT_HOSTILE_SEED` says where to begin.
    private static let first =
        environment["SINGLEFLIGHT_HOSTILE_SEED"].flatMap { UInt64($0) } ?? .random(in: 0..<1 << 32)
    /// Where the seeds of the running sessions are kept, for whoever looks after a crash.
    private static let running = environment["SINGLEFLIGHT_HOSTILE_RUNNING"]

    private static let workers = 16
    /// Each of two connections of each worker may hold a reply of 32 MiB, and hiredis as much again, but a session
    /// lasts too short a time for most of them to get so far.
    private static let memoryCap = 512 << 20

    @Test("cannot crash a process, nor make anything in it wait without end, nor fill its memory")
    func survives() async throws {
        let before = MemoryUse.now
        let ends = HostileEnds()
        let next = Numbers(self.firstSeed)
        let end = self.firstSeed + UInt64(Self.sessions)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for worker in 0..<min(Self.workers, Self.sessions) {
                tasks.addTask {
                    let server = try await HostileServer()
                    while let seed = next.take(below: end) {
                        try Self.note(seed, worker)
                        for problem in try await HostileSession(seed: seed, ends: ends).run(on: server) {
                            Issue.record("seed \(seed): \(problem); replay: make hostile SESSIONS=1 SEED=\(seed)")
                        }
                    }
                    try await server.close()
                }
            }
            try await tasks.waitForAll()
        }
        guard let before, let peak = MemoryUse.peak, Self.environment["SINGLEFLIGHT_HOSTILE_SESSIONS"] != nil else {
            return
        }
        for line in ends.lines { print(line) }
        print(
            "hostile: \(Self.sessions) sessions from seed \(Self.first); memory \(before >> 20) MiB before, \(peak >> 20) MiB at most"
        )
        #expect(peak - before < Self.memoryCap)
    }

    private var firstSeed: UInt64 { Self.first }

    private static func note(_ seed: UInt64, _ worker: Int) throws {
        guard let running else { return }
        try Data("\(seed)\n".utf8).write(to: URL(filePath: "\(running).\(worker)"))
    }
}

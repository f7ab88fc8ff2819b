import Foundation
import History
import SingleflightRedis
import SingleflightTestKit
import Testing

@testable import Soak

@Suite("The history of a soak")
struct SoakHistoryTests {
    /// Two processes ask for a few keys, each with a file of its own; what the checker finds, before and after
    /// `change`.
    private func verdict(changing change: (String) -> String = { $0 }) async throws -> SoakHistory.Verdict {
        let directory = FileManager.default.temporaryDirectory.appending(path: "soak-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let history = try SoakHistory(directory: directory)
        let server = InMemoryLeaseServer(clock: ManualLeaseClock())
        for name in ["one", "two"] {
            let store = RecordingLeaseStore(
                InMemoryLeaseStore(server: server, label: name),
                in: try SoakHistory.writing(to: "\(directory)/\(name)"),
                where: SoakHistory.isRecorded
            )
            let group = try DistributedGroup<String, String>("canceling", store: store)
            for key in [3, 21, 22, 42] { _ = try await group.value("key:\(key)") { _ in name } }
        }
        let file = URL(filePath: "\(directory)/two")
        try Data(change(String(decoding: Data(contentsOf: file), as: UTF8.self)).utf8).write(to: file)
        return try history.judge()
    }

    @Test("has what all workers asked about the chosen keys, and nothing is wrong with it")
    func honest() async throws {
        let verdict = try await self.verdict()
        #expect(verdict.keys == 2)
        // Each of both processes leads and completes.
        #expect(verdict.requests == 8)
        #expect(verdict.violations == [])
    }

    @Test("is flagged if an answer was changed")
    func forged() async throws {
        let verdict = try await self.verdict { $0.replacing(#""attempt":0"#, with: #""attempt":1"#) }
        #expect(verdict.violations.count == 2)
    }
}

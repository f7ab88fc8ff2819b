import Foundation
import TestSupport
import Testing

@testable import PrivateRedis

@Suite("A guarded server", .timeLimit(.minutes(4)))
struct GuardedServerTests {
    @Test("leaves nothing behind, although it writes files until it is killed")
    func writesToTheEnd() async throws {
        let directory = FileManager.default.temporaryDirectory.path + "/singleflight-guarded-\(UUID())"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        let writing = #"number=0; while :; do : >"$0/$number"; number=$((number + 1)); done"#
        let server = try GuardedServer(command: ["/bin/sh", "-c", writing, directory], directory: directory)
        try await until("a few files") { exists(directory + "/99") }
        await server.killAndWait()
        #expect(!exists(directory))
    }
}

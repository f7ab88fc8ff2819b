import Testing

@testable import SingleflightCLI

@Suite("The demo's origin")
struct OriginTests {
    private func withOrigin(_ body: (OriginClient) async throws -> Void) async throws {
        let server = try await OriginServer(latency: .zero)
        try await body(OriginClient(port: server.port))
        try await server.close()
    }

    @Test("counts its hits by key")
    func hits() async throws {
        try await withOrigin { (origin) async throws -> Void in
            #expect(try await origin.get("a/1") == 1)
            #expect(try await origin.get("a/1") == 2)
            #expect(try await origin.get("a/2") == 1)
            #expect(try await origin.get("b") == 1)
            #expect(try await origin.hits(under: "a/") == ["a/1": 2, "a/2": 1])
        }
    }

    @Test("fails where it is told to, and counts that as a hit")
    func failing() async throws {
        try await withOrigin { (origin) async throws -> Void in
            try await origin.fail("a")
            await #expect(throws: OriginFailure(description: "the origin failed on a, hit 1")) {
                try await origin.get("a")
            }
            try await origin.mend("a")
            #expect(try await origin.get("a") == 2)
        }
    }

    @Test("holds a request until its key is released")
    func holding() async throws {
        try await withOrigin { (origin) async throws -> Void in
            try await origin.hold("a")
            async let held = origin.get("a")
            try await origin.waitUntilHeld("a")
            #expect(try await origin.get("b") == 1)
            try await origin.release("a")
            #expect(try await held == 1)
        }
    }

    @Test("a canceled request hangs up at once, and its hit stays counted")
    func canceling() async throws {
        try await withOrigin { (origin) async throws -> Void in
            try await origin.hold("a")
            let request = Task { try await origin.get("a") }
            try await origin.waitUntilHeld("a")
            request.cancel()
            await #expect(throws: CancellationError.self) { try await request.value }
            #expect(try await origin.hits(under: "a") == ["a": 1])
        }
    }

    @Test("an origin that is gone is an error and no hang")
    func gone() async throws {
        // A port that was free a moment ago may be another test's by now; this one is nobody's.
        let origin = OriginClient(port: 1)
        await #expect(throws: OriginFailure.self) { try await origin.get("a") }
    }

    @Test("the origin's process says its port, serves, and ends with its input")
    func process() async throws {
        let process = try await ChildProcess(try Tool.path, ["demo-origin", "--latency", "0"])
        let line = try #require(await process.lines.first { _ in true })
        let port = try JSONText.decode(OriginReady.self, from: line).port
        #expect(try await OriginClient(port: port).get("a") == 1)
        process.closeInput()
        #expect(await process.exit() == .code(0))
    }
}

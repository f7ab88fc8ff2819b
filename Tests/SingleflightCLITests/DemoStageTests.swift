import Testing

@testable import SingleflightCLI

/// Scenes with workers that misbehave: the stage must end them with a reason, never hang.
@Suite("The demo's stage", .timeLimit(.minutes(4)))
struct DemoStageTests {
    private static let ready = #"echo '{"ready":{}}'"#

    /// A stage whose workers are shell scripts, with all of them started.
    private func withStage(_ script: String, limit: Duration = .seconds(20), _ body: (DemoStage) async throws -> Void)
        async throws
    {
        let server = try await OriginServer(latency: .zero)
        var configuration = DemoConfiguration()
        configuration.workers = 2
        configuration.sceneLimit = limit
        let stage = DemoStage(
            configuration: configuration,
            origin: OriginClient(port: server.port),
            redis: nil,
            progress: ProgressLine(terminal: Terminal()),
            untilFollowed: { _, _ in }
        ) { _ in
            try await ChildProcess("/bin/sh", ["-c", script])
        }
        do {
            try await stage.startWorkers()
            stage.begin(scene: 1)
            try await body(stage)
        } catch {
            await stage.stopWorkers()
            throw error
        }
        await stage.stopWorkers()
        try await server.close()
    }

    @Test("a scene whose workers say nothing ends at its limit and names what was missing")
    func silence() async throws {
        try await withStage("\(Self.ready); cat > /dev/null", limit: .milliseconds(100)) { stage in
            let batch = stage.call(["a"], callers: 1)
            let stopped = await #expect(throws: SceneStopped.self) {
                try await stage.wait(for: batch, "a sign of life") { $0.isDone() }
            }
            #expect(stopped?.description == "waited in vain for a sign of life")
        }
    }

    @Test("a worker that dies by itself ends the scene at once")
    func crash() async throws {
        try await withStage("\(Self.ready); read line; kill -9 $$") { stage in
            let batch = stage.call(["a"], callers: 1)
            let stopped = await #expect(throws: SceneStopped.self) {
                try await stage.wait(for: batch, "a sign of life") { $0.isDone() }
            }
            #expect(stopped?.description.hasSuffix("ended by itself with signal 9") == true)
        }
    }

    @Test("what is noticed of a key ends a wait, though no worker says anything")
    func noticed() async throws {
        try await withStage("\(Self.ready); cat > /dev/null") { stage in
            let batch = stage.call(["a"], callers: 1)
            let noticing = stage.notice("a", followedBy: 1)
            try await stage.wait(for: batch, "followers") { _ in stage.followed.contains("a") }
            try await noticing.value
            #expect(stage.followed == ["a"])
            stage.end()
            #expect(stage.followed.isEmpty)
        }
    }

    @Test("a worker that is killed on purpose and replaced does not end the scene")
    func replacement() async throws {
        let report =
            #"{"done":{"_0":{"batch":1,"values":{"1":1},"wrong":0,"failures":{},"canceled":{},"wakeUps":[],"restarts":0,"end":1}}}"#
        try await withStage("\(Self.ready); read line; echo '\(report)'; cat > /dev/null") { stage in
            await stage.kill(0)
            try await stage.replace(0)
            try await stage.waitUntilReady()
            let batch = stage.call(["a"], callers: 1)
            let ledger = try await stage.wait(for: batch, "both reports") { $0.isDone() }
            #expect(ledger.total().values == [1: 2])
        }
    }
}

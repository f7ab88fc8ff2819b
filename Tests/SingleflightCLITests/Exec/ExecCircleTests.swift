import Foundation
import PrivateRedis
import SingleflightRedis
import Testing

@testable import SingleflightCLI

extension ProcessSuites {
    @Suite("exec inside of exec")
    struct ExecCircleTests {
        @Test("a run that would wait for one that waits for it is refused, with the way")
        func circle() async throws {
            try await ExecStage.with { stage in
                let tool = try Tool.path
                let up = try stage.fifo("up")
                let go = (one: try stage.fifo("go-one"), two: try stage.fifo("go-two"))
                // The outer runs are under way before either asks for the other. Whichever is refused ends, and the
                // other goes on.
                func run(_ key: String, inside: String, _ go: Fifo) throws -> ToolProcess {
                    let script = """
                        echo \(key) > \(up.path); read word < \(go.path)
                        '\(tool)' exec \(inside) -- true; echo $? > \(stage.directory)/\(key); exit 0
                        """
                    return try stage.start(["exec", key, "--", "/bin/sh", "-c", script])
                }
                let one = try run("one", inside: "two", go.one)
                #expect(try await up.read() == "one\n")
                let two = try run("two", inside: "one", go.two)
                #expect(try await up.read() == "two\n")
                try await go.one.write("go\n")
                try await stage.untilWaiters(1, key: "two")
                try await go.two.write("go\n")
                let ends = try await results(of: [one, two])
                #expect(ends.map(\.status) == [0, 0])
                #expect(stage.lines("two") == ["64"], "it closes the circle")
                #expect(stage.lines("one") == ["0"])
                #expect(ends[1].messages.contains("one, which waits for two"), "\(ends[1].messages)")
            }
        }

        @Test("what surrounds a run is told and read as it was, whatever the key")
        func environment() throws {
            var generator = SystemRandomNumberGenerator()
            let keys = try [[], Array("a b:c".utf8), Array(0...255)].map { try FlightKey(group: "exec", bytes: $0) }
            let tokens = keys.map { _ in LeaseToken(using: &generator) }
            var environment: [String: String] = [:]
            for (key, token) in zip(keys, tokens) {
                let enclosing = EnclosingRuns(environment: environment)
                environment[EnclosingRuns.variable] = enclosing.value(inside: key, token: token)
            }
            let expected = zip(keys, tokens).map { EnclosingFlight(key: $0, token: $1) }.reversed()
            #expect(EnclosingRuns(environment: environment).flights == Array(expected))
            for foreign in [
                "", "x", "1:2", ":::", "\(tokens[0]):exec:0", "\(tokens[0]):exec:xy", "\(tokens[0]):e x:00",
            ] {
                #expect(EnclosingRuns(environment: [EnclosingRuns.variable: foreign]).flights.isEmpty)
            }
        }
    }
}

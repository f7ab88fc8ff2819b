import Foundation
import TestSupport
import Testing

extension ProcessSuites {
    /// The scripts of docs/recipes.md, on several hosts at once.
    @Suite("Recipes")
    struct ExecRecipeTests {
        /// The block that is marked `run=name`.
        private func recipe(_ name: String) throws -> String {
            let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().deletingLastPathComponent()
            let page = try String(contentsOf: root.appending(path: "docs/recipes.md"), encoding: .utf8)
            let start = try #require(page.firstRange(of: "```sh run=\(name)\n"))
            let end = try #require(page[start.upperBound...].firstRange(of: "```"))
            return String(page[start.upperBound..<end.lowerBound])
        }

        /// Runs the recipe in a shell whose `PATH` has the tool, and `programs` as scripts.
        private func start(
            _ name: String,
            _ stage: ExecStage,
            programs: [String: String],
            variables: [String]
        ) async throws -> ToolProcess {
            let folder = "\(stage.directory)/bin"
            if !FileManager.default.fileExists(atPath: folder) {
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
                try FileManager.default.createSymbolicLink(
                    atPath: "\(folder)/singleflight",
                    withDestinationPath: Tool.path
                )
                for (program, script) in programs {
                    try await Tool.writeScript(script, to: "\(folder)/\(program)")
                }
            }
            let path = "PATH=\(folder):/usr/bin:/bin"
            return try stage.start(program: "/usr/bin/env", [path] + variables + ["/bin/sh", "-c", try recipe(name)])
        }

        @Test("of three instances one migrates, and all serve; none does if that fails", arguments: [0, 1] as [Int32])
        func migrations(_ status: Int32) async throws {
            try await ExecStage.with { stage in
                let (up, go) = (try stage.fifo("up"), try stage.fifo("go"))
                let runs = "\(stage.directory)/runs"
                let migrate = "echo ran >> \(runs); echo up > \(up.path); read word < \(go.path); exit \(status)"
                var instances: [ToolProcess] = []
                for _ in 0..<3 {
                    instances.append(
                        try await start(
                            "migrations",
                            stage,
                            programs: ["migrate": migrate, "serve": "echo serving"],
                            variables: ["VERSION=7"]
                        )
                    )
                }
                #expect(try await up.read() == "up\n")
                try await stage.untilWaiters(2, key: "migrate-7")
                try await go.write("\n")
                for result in try await results(of: instances) {
                    #expect((result.status, result.text) == (status, status == 0 ? "serving\n" : ""))
                }
                #expect(stage.lines("runs").count == 1)
            }
        }

        @Test("a report is computed once, also for those who come later, and again after a failure")
        func report() async throws {
            try await ExecStage.with { stage in
                let report = "echo ran >> \(stage.directory)/runs; echo \"report of $1\"; test $1 = friday"
                for (day, status, runs) in [
                    ("friday", Int32(0), 1), ("friday", 0, 1), ("monday", 1, 2), ("monday", 1, 3),
                ] {
                    let result = try await start(
                        "report",
                        stage,
                        programs: ["report": report],
                        variables: ["DAY=\(day)"]
                    ).result
                    #expect((result.status, result.text) == (status, "report of \(day)\n"))
                    #expect(stage.lines("runs").count == runs)
                }
            }
        }
    }
}

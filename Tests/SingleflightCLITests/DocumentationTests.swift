import Foundation
import Testing

@Suite("The command's documentation", .timeLimit(.minutes(1)))
struct DocumentationTests {
    @Test("docs/cli.md is what the commands say of themselves")
    func upToDate() async throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let run = try await Tool.run(
            program: root.appending(path: "scripts/generate-cli-docs").path(percentEncoded: false),
            ["--check", try Tool.path]
        )
        #expect(run.status == 0, "\(run.messages)")
    }

    @Test("completion scripts come without hidden commands", arguments: ["bash", "zsh", "fish"])
    func completion(_ shell: String) async throws {
        let run = try await Tool.run("--generate-completion-script", shell)
        #expect(run.status == 0)
        #expect(run.output.contains("doctor"))
        #expect(!run.output.contains("demo-load"))
    }
}

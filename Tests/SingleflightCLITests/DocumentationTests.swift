import Foundation
import TestSupport
import Testing

@Suite("The command's documentation", .usesServer, .timeLimit(.minutes(4)))
struct DocumentationTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    @Test("the newest entry of CHANGELOG.md is of the command's version, and the image says the same")
    func changes() async throws {
        let changes = try String(contentsOf: Self.root.appending(path: "CHANGELOG.md"), encoding: .utf8)
        let newest = try #require(changes.split(separator: "\n").first { $0.hasPrefix("## ") })
        let run = try await Tool.run("--version")
        #expect("## " + run.output == newest + "\n")
        let image = try String(contentsOf: Self.root.appending(path: "docker/Dockerfile"), encoding: .utf8)
        #expect(image.contains("\nARG VERSION=" + run.output))
    }

    @Test("docs/cli.md is what the commands say of themselves")
    func upToDate() async throws {
        let run = try await Tool.run(
            program: Self.root.appending(path: "scripts/generate-cli-docs").path(percentEncoded: false),
            ["--check", try Tool.path]
        )
        #expect(run.status == 0, "\(run.messages)")
    }

    @Test("an installation is the command, its manual page and completion, below DESTDIR, which nothing names")
    func installation() async throws {
        let root = NSTemporaryDirectory() + "install-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let script = Self.root.appending(path: "scripts/install-tool").path(percentEncoded: false)
        let run = try await Tool.run(program: script, [try Tool.path, "/opt/sf", root])
        #expect(run.status == 0, "\(run.messages)")
        for name in [
            "share/man/man1/singleflight.1", "share/bash-completion/completions/singleflight",
            "share/zsh/site-functions/_singleflight", "share/fish/vendor_completions.d/singleflight.fish",
        ] {
            let text = try String(contentsOfFile: "\(root)/opt/sf/\(name)", encoding: .utf8)
            #expect(text.contains("doctor") && !text.contains(root) && !text.contains("demo-load"), "\(name)")
        }
        let installed = try await Tool.run(program: "\(root)/opt/sf/bin/singleflight", ["--version"])
        #expect(installed.status == 0)
        let page = try String(contentsOfFile: "\(root)/opt/sf/share/man/man1/singleflight.1", encoding: .utf8)
        for section in [
            ".SH NAME", ".SH SYNOPSIS", ".SH COMMANDS", ".SS leases", ".SS exec", ".SH ENVIRONMENT", ".SH FILES",
        ] {
            #expect(page.contains(section))
        }
        #expect(try await Tool.run(program: script, [try Tool.path, "opt", root]).status == 64)
    }

    @Test("completion scripts come without hidden commands", arguments: ["bash", "zsh", "fish"])
    func completion(_ shell: String) async throws {
        let run = try await Tool.run("--generate-completion-script", shell)
        #expect(run.status == 0)
        #expect(run.output.contains("doctor"))
        #expect(!run.output.contains("demo-load"))
    }

    @Test(
        "the script for bash completes commands, options and values",
        arguments: [
            (["le"], "leases"), (["leases", "--so"], "--sort"), (["leases", "--sort", ""], "key age left waiters"),
            (["doctor", "--output", "j"], "json"),
        ]
    )
    func bash(_ words: [String], _ completions: String) async throws {
        // What bash does when somebody presses Tab behind the last of the words.
        let script = #"""
            source <("$0" --generate-completion-script bash)
            COMP_WORDS=(singleflight "$@") COMP_CWORD=$# COMP_LINE="singleflight $*"
            COMP_POINT=${#COMP_LINE}
            _singleflight singleflight "${@: -1}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[@]}"
            """#
        let run = try await Tool.run(program: "/bin/bash", ["-c", script, try Tool.path] + words)
        #expect(run.output == completions + "\n")
    }
}

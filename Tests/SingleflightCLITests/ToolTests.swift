import TestSupport
import Testing

/// The built command, seen from outside.
@Suite("The command", .usesServer, .timeLimit(.minutes(1)))
struct ToolTests {
    @Test("a usage error is one line on standard error and status 64")
    func usage() async throws {
        let run = try await Tool.run("demo", "--workers", "0")
        #expect(run.status == 64)
        #expect(run.output.isEmpty)
        #expect(run.messages == "singleflight: --workers is 1 to 64, not 0\n")
    }

    @Test("an unknown command is a usage error", arguments: ["bogus", "--bogus"])
    func unknown(_ word: String) async throws {
        let run = try await Tool.run(word)
        #expect(run.status == 64)
        #expect(run.messages.contains(word))
    }

    @Test("help and version go to standard output and succeed", arguments: ["--help", "--version"])
    func help(_ word: String) async throws {
        let run = try await Tool.run(word)
        #expect(run.status == 0)
        #expect(!run.output.isEmpty)
        #expect(run.messages.isEmpty)
    }

    @Test(
        "every command shows examples in its help",
        arguments: ["leases", "show", "watch", "top", "wait", "revoke", "exec", "doctor", "bench", "demo"]
    )
    func examples(_ command: String) async throws {
        let run = try await Tool.run(command, "--help")
        #expect(run.output.contains("  singleflight \(command)"))
    }

    @Test("a process of the demo that is started by hand says so")
    func byHand() async throws {
        let run = try await Tool.run("demo-origin")
        #expect(run.status == 1)
        #expect(run.messages.contains("`singleflight demo` starts this"))
    }

    @Test("a password in the environment's URL is never printed")
    func secrets() async throws {
        let run = try await Tool.run("leases", environment: ["SINGLEFLIGHT_URL": "http://user:secret@127.0.0.1:1"])
        #expect(run.status == 64)
        #expect(!(run.output + run.messages).contains("secret"))
    }
}

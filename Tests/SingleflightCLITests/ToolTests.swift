import PrivateRedis
import TestSupport
import Testing

/// The built command, seen from outside.
@Suite("The command", .usesServer, .timeLimit(.minutes(4)))
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
        arguments: [
            "leases", "namespaces", "show", "last", "watch", "top", "wait", "revoke", "exec", "doctor", "bench", "demo",
        ]
    )
    func examples(_ command: String) async throws {
        let run = try await Tool.run(command, "--help")
        #expect(run.output.contains("  singleflight \(command)"))
    }

    @Test(
        "a word that is nearly a command is told which one",
        arguments: [
            ("lease", "leases"), ("laeses", "leases"), ("namespace", "namespaces"), ("docter", "doctor"),
            ("rev", "revoke"),
            ("topp", "top"),
        ]
    )
    func suggestion(_ word: String, _ command: String) async throws {
        let run = try await Tool.run(word)
        #expect(run.status == 64)
        #expect(run.messages.hasSuffix("; did you mean '\(command)'?\n"))
        #expect(run.messages.split(separator: "\n").count == 1)
    }

    @Test(
        "a word that is like no command is told nothing, and hidden commands are not told",
        arguments: ["xyzzy", "demo-lod"]
    )
    func noSuggestion(_ word: String) async throws {
        #expect(!(try await Tool.run(word).messages.contains("demo-load")))
        #expect(!(try await Tool.run("xyzzy").messages.contains("did you mean")))
    }

    @Test(
        "a duration without a unit is told that it has to have one",
        arguments: [
            ["exec", "--lease", "10", "k", "--", "true"], ["top", "--interval", "2.5"],
            ["wait", "k", "--timeout", "3"],
        ]
    )
    func units(_ arguments: [String]) async throws {
        let run = try await Tool.run(arguments)
        #expect(run.status == 64)
        #expect(run.messages.contains("say its unit: "), "\(run.messages)")
    }

    @Test(
        "help is broken once, at the terminal's width, and nowhere else",
        arguments: [
            "leases", "namespaces", "show", "last", "watch", "top", "wait", "revoke", "exec", "doctor", "bench", "demo",
        ],
        [40, 80, 140]
    )
    func helpWidth(_ command: String, _ columns: Int) async throws {
        let run = try await Tool.run("help", command, environment: ["COLUMNS": "\(columns)"])
        let lines = run.output.split(separator: "\n", omittingEmptySubsequences: false)
        let usage = lines.drop { !$0.hasPrefix("USAGE") }.prefix { !$0.isEmpty }
        #expect(!usage.isEmpty && usage.allSatisfy { $0.count <= columns }, "\(usage)")
        // Of two lines of one paragraph the second begins with a word that the first had no room for.
        for (line, next) in zip(lines, lines.dropFirst()) where isProse(line) && isProse(next) {
            let word = next.prefix { $0 != " " }
            #expect(line.count + 1 + word.count >= columns, "\(line)\n\(next)")
        }
    }

    private func isProse(_ line: Substring) -> Bool {
        !line.isEmpty && !line.hasPrefix(" ") && line != "OPTIONS:" && line != "ARGUMENTS:" && line != "Examples:"
    }

    @Test("few open files are enough, and too few are an error that says so", arguments: [10, 20, 64])
    func descriptors(_ limit: Int) async throws {
        try await PrivateRedis.with { redis in
            let script = "ulimit -n \(limit); exec \"$0\" leases --url \"$1\""
            let run = try await Tool.run(program: "/bin/sh", ["-c", script, try Tool.path, redis.url])
            #expect(run.status == (limit == 64 ? 0 : 69), "\(run.messages)")
            #expect(limit == 64 || run.messages.hasPrefix("singleflight: only \(limit) files may be open here"))
            #expect(run.messages.split(separator: "\n").count == (limit == 64 ? 0 : 1))
        }
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

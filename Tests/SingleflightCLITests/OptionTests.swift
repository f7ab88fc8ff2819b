import ArgumentParser
import Testing

@testable import SingleflightCLI

@Suite("Options")
struct OptionTests {
    @Test(
        "a demo that makes no sense is refused with a line that names the option",
        arguments: [
            "--workers 0", "--callers 0", "--keys -1", "--rounds 101", "--keys 30 --callers 20", "--redis http://h",
        ]
    )
    func demoValidation(_ line: String) throws {
        let words = line.split(separator: " ").map(String.init)
        let error = try #require(throws: (any Error).self) { try DemoCommand.parse(words) }
        let message = DemoCommand.message(for: error)
        #expect(DemoCommand.exitCode(for: error) == .validationFailure)
        #expect(!message.contains("\n"))
        #expect(message.contains(words[0]) || message.contains(words[1]))
    }

    @Test("the demo's defaults make sense")
    func demoDefaults() throws {
        let demo = try DemoCommand.parse([])
        #expect([demo.workers, demo.callers, demo.keys, demo.rounds] == [4, 250, 20, 3])
        #expect(demo.redis == nil)
    }

    @Test("a refused URL does not show its password")
    func refusedURL() throws {
        let error = try #require(throws: (any Error).self) {
            try LeasesCommand.parse(["--url", "http://u:secret@h"])
        }
        #expect(!LeasesCommand.message(for: error).contains("secret"))
    }

    @Test("an option goes before the environment, and the environment before the default")
    func precedence() throws {
        let environment = ["SINGLEFLIGHT_URL": "redis://environment", "SINGLEFLIGHT_NAMESPACE": ""]
        let explicit = try LeasesCommand.parse(["--url", "redis://option"]).connection
        let implicit = try LeasesCommand.parse([]).connection
        #expect(explicit.resolvedURL(environment) == "redis://option")
        #expect(implicit.resolvedURL(environment) == "redis://environment")
        #expect(implicit.resolvedURL([:]) == "redis://127.0.0.1:6379")
        #expect(implicit.resolvedNamespace(environment) == "default")
    }

    @Test("a namespace that could not be part of a key is refused", arguments: ["a/b", "", "{x}", "ä"])
    func namespaces(_ name: String) {
        #expect(throws: (any Error).self) { try LeasesCommand.parse(["--namespace", name]) }
    }

    @Test(
        "options that every command knows may stand before the command",
        arguments: [
            ("--url X leases a", "leases --url X a"), ("--url=X --color never show k", "show --url=X --color never k"),
            ("leases --url X", "leases --url X"), ("--version", "--version"), ("--url", "--url"),
            ("--output json --help", "--output json --help"),
        ]
    )
    func globalOptions(_ line: String, _ moved: String) {
        #expect(GlobalOptions.moved(line.split(separator: " ").map(String.init)).joined(separator: " ") == moved)
    }
}

import Foundation
import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightCLI

@Suite("Contexts", .usesServer, .timeLimit(.minutes(4)))
struct ContextTests {
    private static let text = """
        # Which is used where none is named.
        default = staging

        [staging]
        url = redis://operator:hush=hush@staging:6379
        namespace = shop

        [production]
        url=rediss://operator@production
        password-file = /etc/password
        """

    /// The environment in which a file with this text is the configuration.
    private static func withFile<Result>(_ text: String, _ body: ([String: String]) throws -> Result) throws -> Result {
        let file = NSTemporaryDirectory() + "/contexts-\(UUID().uuidString)"
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        return try body(["SINGLEFLIGHT_CONFIG": file])
    }

    @Test("a context that is named goes before the variables, the default one behind them")
    func precedence() throws {
        try Self.withFile(Self.text) { file in
            let url = "SINGLEFLIGHT_URL"
            #expect(try Contexts.applied(to: file, named: nil)[url] == "redis://operator:hush=hush@staging:6379")
            let production = try Contexts.applied(to: file.merging([url: "redis://h"]) { $1 }, named: "production")
            #expect(production[url] == "rediss://operator@production")
            #expect(production["SINGLEFLIGHT_PASSWORD_FILE"] == "/etc/password")
            #expect(production["SINGLEFLIGHT_NAMESPACE"] == nil)
            let both = file.merging([url: "redis://h", "SINGLEFLIGHT_NAMESPACE": ""]) { $1 }
            #expect(try Contexts.applied(to: both, named: nil)[url] == "redis://h")
            #expect(try Contexts.applied(to: both, named: nil)["SINGLEFLIGHT_NAMESPACE"] == "shop")
            let variable = file.merging(["SINGLEFLIGHT_CONTEXT": "production"]) { $1 }
            #expect(try Contexts.applied(to: variable, named: nil)[url] == "rediss://operator@production")
            #expect(try Contexts.applied(to: variable, named: "staging")["SINGLEFLIGHT_NAMESPACE"] == "shop")
        }
    }

    @Test("without a file nothing changes, unless a context is asked for")
    func without() throws {
        let nowhere = ["SINGLEFLIGHT_CONFIG": "/nowhere/contexts", "A": "b"]
        #expect(try Contexts.applied(to: nowhere, named: nil) == nowhere)
        #expect(throws: Contexts.Failure.self) { try Contexts.applied(to: nowhere, named: "x") }
        #expect(try Contexts.applied(to: [:], named: nil) == [:])
        #expect(Contexts.path(["HOME": "/home/me"]) == "/home/me/.config/singleflight/contexts")
        #expect(Contexts.path(["HOME": "/home/me", "XDG_CONFIG_HOME": "/c"]) == "/c/singleflight/contexts")
    }

    @Test(
        "what makes no sense is told with its line, and without what stands in it",
        arguments: [
            ("[a]\nsecret", "line 2"), ("url = redis://u:secret@h", "line 1"), ("[a]\npassword = secret", "line 2"),
            ("default = b\n[a]", "'b'"),
        ]
    )
    func mistakes(_ text: String, _ place: String) throws {
        let error = try #require(throws: Contexts.Failure.self) { try Contexts(text) }
        #expect(error.description.contains(place) && !error.description.contains("secret"))
    }

    @Test("a command takes its Redis from the context, before or behind its name; an unknown one is a usage error")
    func command() async throws {
        try await PrivateRedis.with { redis in
            let file = NSTemporaryDirectory() + "/contexts-\(UUID().uuidString)"
            try "[here]\nurl = \(redis.url)\nnamespace = shop\n".write(toFile: file, atomically: true, encoding: .utf8)
            defer { try? FileManager.default.removeItem(atPath: file) }
            let environment = ["SINGLEFLIGHT_CONFIG": file, "SINGLEFLIGHT_URL": "redis://127.0.0.1:1"]
            for arguments in [["leases", "--context", "here"], ["--context=here", "leases"]] {
                let run = try await Tool.run(arguments, environment: environment)
                #expect(run.status == 0, "\(run.messages)")
            }
            let run = try await Tool.run("leases", "--context", "there", environment: environment)
            #expect(run.status == 64)
            #expect(run.messages.hasSuffix("it has: here\n"))
        }
    }
}

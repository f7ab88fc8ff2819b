import Foundation
import PrivateRedis
import TestSupport
import Testing

/// What every command does with a Redis that is not as it should be: the table of docs/cli.md, seen from outside.
@Suite("Exit statuses", .usesServer, .timeLimit(.minutes(4)))
struct ExitStatusTests {
    /// Every command that needs a Redis and no terminal; but for doctor, which reports whatever there is.
    private static let commands = [
        ["leases"], ["leases", "--sort", "age", "--output", "json"], ["show", "key"], ["watch"], ["wait", "key"],
        ["wait", "key", "--group", "pages"], ["revoke", "key", "--yes"], ["exec", "key", "--", "true"],
        ["last", "key"], ["namespaces"],
    ]

    /// Runs all of `commands` side by side and sees that each ends with `status` and one line that tells no secret.
    private static func expect(
        _ status: Int32,
        of commands: [[String]] = commands,
        url: String,
        _ location: SourceLocation = #_sourceLocation
    ) async throws {
        let runs = try await withThrowingTaskGroup(of: ([String], Tool.Run).self) { group in
            for command in commands {
                group.addTask { (command, try await Tool.run(command, environment: ["SINGLEFLIGHT_URL": url])) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        for (command, run) in runs {
            #expect(run.status == status, "\(command): \(run.messages)", sourceLocation: location)
            #expect(run.messages.hasPrefix("singleflight: "), "\(command)", sourceLocation: location)
            #expect(run.messages.split(separator: "\n").count == 1, "\(command)", sourceLocation: location)
            #expect(run.output.isEmpty, "\(command)", sourceLocation: location)
            #expect(!run.messages.contains("secret"), "\(command)", sourceLocation: location)
        }
    }

    @Test(
        "a Redis that is not there is 69",
        arguments: ["redis://user:secret@127.0.0.1:1", "redis+unix:///nowhere/redis"]
    )
    func unreachable(_ url: String) async throws {
        try await Self.expect(69, url: url)
    }

    @Test("a Redis that takes the connection and says nothing is 69, within the command timeout")
    func silent() async throws {
        try await PrivateRedis.with { redis in
            redis.pause()
            defer { redis.resume() }
            try await Self.expect(69, url: redis.url)
        }
    }

    @Test("a wrong password is 77, and so is none where one is needed")
    func unauthorized() async throws {
        try await PrivateRedis.with(.init(password: "right")) { redis in
            let socket = try #require(redis.socketPath)
            try await Self.expect(77, url: "redis+unix://:secret@\(socket)")
            try await Self.expect(77, url: "redis+unix://\(socket)")
        }
    }

    @Test("a user who may do nothing is 77")
    func forbidden() async throws {
        let rules = "-@all +auth +ping +role +client|setname"
        try await PrivateRedis.with(.init(users: ["nobody on >secret resetchannels \(rules)"])) { redis in
            try await Self.expect(77, url: "redis+unix://nobody:secret@\(try #require(redis.socketPath))")
        }
    }

    @Test(
        "a URL that is none is 64 before anything is tried",
        arguments: [
            "http://user:secret@127.0.0.1", "redis://user:secret@:99999/x", "secret", "redis://user:secret@h:1/db",
        ]
    )
    func malformed(_ url: String) async throws {
        try await Self.expect(64, url: url)
    }

    @Test("what answers but is no Redis is 69, and is named")
    func noRedis() async throws {
        try await Impostor.with { url in
            for command in [["leases"], ["exec", "key", "--", "true"]] {
                let run = try await Tool.run(command, environment: ["SINGLEFLIGHT_URL": url])
                #expect(run.status == 69)
                #expect(run.messages.hasPrefix("singleflight: \(url)/0 is no Redis: "), "\(run.messages)")
            }
        }
    }

    @Test("bench with a wrong password is 77, too")
    func benchPassword() async throws {
        try await PrivateRedis.with(.init(password: "right")) { redis in
            let url = "redis+unix://:secret@\(try #require(redis.socketPath))"
            let run = try await Tool.run("bench", "--redis", url, "--duration", "0.1")
            #expect(run.status == 77)
            #expect(!run.messages.contains("secret"))
        }
    }

    @Test("a server without AUTH quotes the password, and nobody sees it")
    func quotedPassword() async throws {
        try await PrivateRedis.with(.init(extraLines: ["rename-command AUTH \"\""])) { redis in
            let url = "redis+unix://user:secret@\(try #require(redis.socketPath))"
            try await Self.expect(77, of: [["leases"], ["exec", "key", "--", "true"], ["wait", "key"]], url: url)
        }
    }

    @Test("help for a command that does not exist is a typing error; help that cannot be printed is a failure")
    func help() async throws {
        let nonsense = try await Tool.run("help", "nonsense")
        #expect((nonsense.status, nonsense.output) == (64, ""))
        #expect(nonsense.messages == "singleflight: there is no command 'nonsense'\n")
        #expect(try await Tool.run("help", "exec").status == 0)
        let tool = try Tool.path
        for option in ["--version", "--help"] {
            let full = try await Tool.run(program: "/bin/sh", ["-c", "exec '\(tool)' \(option) > /dev/full"])
            #expect(full.status == 1)
        }
    }

    @Test("a password on the command line is warned of; one from a file or a descriptor is used")
    func passwordFile() async throws {
        try await PrivateRedis.with(.init(password: "ri:g/ht")) { redis in
            let path = try #require(redis.socketPath)
            let warned = try await Tool.run("leases", "--url", "redis+unix://:ri%3Ag%2Fht@\(path)")
            #expect(warned.status == 0)
            #expect(warned.messages.hasPrefix("singleflight: warning: --url shows its password"))
            let leases = "exec '\(try Tool.path)' leases --url 'redis+unix://\(path)'"
            let script = "\(leases) --password-file /dev/fd/3 3<<A\nri:g/ht\nA\n"
            let run = try await Tool.run(program: "/bin/sh", ["-c", script])
            #expect((run.status, run.messages) == (0, ""))
            let missing = try await Tool.run("leases", "--password-file", "/no/such/file")
            #expect(missing.status == 64)
        }
    }

    @Test("what is not there is 2")
    func notFound() async throws {
        try await PrivateRedis.with { redis in
            let commands = Self.commands.filter { ["show", "wait", "revoke", "last"].contains($0[0]) }
            try await Self.expect(2, of: commands + [["show", "key", "--payload"]], url: redis.url)
        }
    }

    @Test("an empty Redis is no failure: an empty list, and 0", arguments: ["table", "json", "ndjson"])
    func empty(_ format: String) async throws {
        try await PrivateRedis.with { redis in
            let run = try await Tool.run("leases", "--output", format, "--url", redis.url)
            #expect(run.status == 0)
            #expect(run.messages.isEmpty)
            switch format {
            case "json": #expect(run.output == "[]\n")
            case "ndjson": #expect(run.output.isEmpty)
            default: #expect(run.output.hasPrefix("KEY"))
            }
        }
    }

    @Test(
        "a command that draws says on one line why it cannot, and leaves the terminal as it was",
        arguments: ["top", "leases"]
    )
    func drawing(_ command: String) async throws {
        let arguments = command == "top" ? ["top"] : ["leases", "--watch"]
        try await PrivateRedis.with(.init(password: "right")) { redis in
            for (url, status) in [
                ("redis+unix://:secret@\(try #require(redis.socketPath))", Int32(77)), ("redis://127.0.0.1:1", 69),
            ] {
                let pty = try Pty(arguments + ["--url", url], columns: 200)
                #expect(await pty.exit() == status)
                #expect(pty.modes == pty.originalModes)
                #expect(pty.output.hasPrefix("singleflight: ") && !pty.output.contains("\u{1B}"))
                #expect(!pty.output.contains("secret"))
            }
        }
    }
}

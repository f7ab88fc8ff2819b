import ArgumentParser
import Foundation
import HiredisClient
import TestSupport
import Testing

@testable import SingleflightCLI

/// What docker/ and packaging/ have, as far as it can be tried without an engine, a systemd or a cluster.
@Suite("Packaging", .usesServer, .timeLimit(.minutes(4)))
struct PackagingTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    @Test(
        "a password of any characters gets into the URL of a worker in a container, and not into its environment",
        arguments: ["plain", "a b@/:%\"$$é?#&", "'`\\", "%41", " "]
    )
    func passwords(_ password: String) async throws {
        let directory = NSTemporaryDirectory() + "password-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        // What the image has: busybox with its applets, and the command, which here says what it was given.
        for (name, script) in [
            ("busybox", "exec \"$@\""),
            ("singleflight", #"printf '%s\n' "$SINGLEFLIGHT_URL" "$@" "${SINGLEFLIGHT_REDIS_PASSWORD-unset}""#),
        ] {
            try await Tool.writeScript(script, to: "\(directory)/\(name)")
        }
        let run = try await Tool.run(
            program: "/bin/sh",
            [Self.root.appending(path: "docker/with-password").path(percentEncoded: false), "doctor", "a b"],
            environment: ["PATH": "\(directory):/usr/bin:/bin", "SINGLEFLIGHT_REDIS_PASSWORD": password]
        )
        let lines = run.output.split(separator: "\n").map(String.init)
        #expect(lines.dropFirst() == ["doctor", "a b", "unset"], "\(run.messages)")
        let url = try RedisURL(try #require(lines.first))
        #expect(url.password == RedisURL.Secret(password))
        #expect(url.user == "singleflight")
        #expect(url.endpoint == .tcp(host: "redis", port: 6_379))
    }

    @Test("a container that is given sentinels finds the primary by them, and logs in to both")
    func sentinels() async throws {
        let directory = NSTemporaryDirectory() + "sentinels-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        for (name, script) in [("busybox", "exec \"$@\""), ("singleflight", #"printf '%s' "$SINGLEFLIGHT_URL""#)] {
            let file = "\(directory)/\(name)"
            try "#!/bin/sh\n\(script)\n".write(toFile: file, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file)
        }
        let run = try await Tool.run(
            program: "/bin/sh",
            [Self.root.appending(path: "docker/with-password").path(percentEncoded: false), "doctor"],
            environment: [
                "PATH": "\(directory):/usr/bin:/bin", "SINGLEFLIGHT_REDIS_PASSWORD": "p&w",
                "SINGLEFLIGHT_SENTINEL_PASSWORD": "a&b", "SINGLEFLIGHT_SENTINELS": "s1,s2:1",
            ]
        )
        let target = try RedisTarget(run.output)
        #expect("\(target)" == "redis-sentinel://singleflight:***@s1:26379,s2:1/main")
        guard case .sentinel(let sentinel) = target.deployment else {
            Issue.record("\(run.output) names no sentinels")
            return
        }
        #expect(sentinel.credentials?.hasPassword == true)
    }

    @Test("without a password a container says so, and does not start")
    func withoutPassword() async throws {
        let script = Self.root.appending(path: "docker/with-password").path(percentEncoded: false)
        let run = try await Tool.run(program: "/bin/sh", [script, "doctor"])
        #expect(run.status != 0)
        #expect(run.messages.contains("SINGLEFLIGHT_REDIS_PASSWORD: is not set"))
    }

    @Test(
        "every place in compose files that needs the password says what to do without it",
        arguments: ["", ".workers", ".sentinel", ".cluster"]
    )
    func compose(_ name: String) throws {
        let lines = try Self.text("docker/compose\(name).yaml").split(separator: "\n")
        let needing = lines.filter { $0.contains("${SINGLEFLIGHT_REDIS_PASSWORD") }
        #expect(!needing.isEmpty)
        #expect(
            needing.allSatisfy {
                $0.contains(":?export it first, the password that workers use; for commands like down")
            }
        )
        // No password becomes part of a URL there: some of its characters would end it.
        #expect(!lines.contains { $0.contains("redis://") && $0.contains("PASSWORD") && !$0.hasPrefix("#") })
    }

    @Test("the image's user is a number, so that Kubernetes can see that it is not root")
    func user() throws {
        #expect(try Self.text("docker/Dockerfile").contains("\nUSER 10001:10001\n"))
    }

    @Test("what the image is built from is let through to the engine")
    func context() throws {
        let ignored = try Self.text(".dockerignore").split(separator: "\n")
        let copied = try Self.text("docker/Dockerfile").split(separator: "\n")
            .filter { $0.hasPrefix("COPY ") && !$0.hasPrefix("COPY --from=") }
            .flatMap { $0.split(separator: " ").dropFirst().dropLast() }
        #expect(copied.contains("docker/with-password"))
        for path in copied { #expect(ignored.contains("!\(path)")) }
    }

    @Test(
        "the lines for systemd are ones that the command takes",
        arguments: ["nightly-report.service", "migrate@.service"]
    )
    func units(_ name: String) throws {
        let start = "ExecStart=/usr/bin/singleflight exec "
        let lines = try Self.text("packaging/systemd/\(name)").split(separator: "\n").filter { $0.hasPrefix(start) }
        #expect(lines.count == 1)
        for line in lines {
            let command = try ExecCommand.parse(line.dropFirst(start.count).split(separator: " ").map(String.init))
            #expect(!command.words.isEmpty)
        }
    }
}

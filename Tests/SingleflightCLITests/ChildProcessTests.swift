import Foundation
import NIOCore
import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightCLI

@Suite("Child processes", .usesServer, .timeLimit(.minutes(4)))
struct ChildProcessTests {
    private func shell(_ script: String, environment: [String: String] = [:]) async throws -> ChildProcess {
        try await ChildProcess("/bin/sh", ["-c", script], environment: environment)
    }

    @Test("lines go in and come out in order")
    func echo() async throws {
        let child = try await ChildProcess("/bin/cat", [])
        for number in 1...1_000 { child.send("line \(number)") }
        child.closeInput()
        var lines: [String] = []
        for await line in child.lines { lines.append(line) }
        #expect(lines == (1...1_000).map { "line \($0)" })
        #expect(await child.exit() == .code(0))
    }

    @Test("a child that says more than a pipe holds is not blocked although nobody reads")
    func draining() async throws {
        let child = try await shell(
            "i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done"
        )
        #expect(await child.exit() == .code(0))
        var count = 0
        for await _ in child.lines { count += 1 }
        #expect(count == 20_000)
    }

    @Test("the exit status arrives, also for those who ask late and together")
    func status() async throws {
        let child = try await shell("exit 7")
        async let first = child.exit()
        async let second = child.exit()
        #expect(await [first, second] == [.code(7), .code(7)])
        #expect(await child.exit() == .code(7))
        #expect(!child.signal(SIGTERM))
    }

    @Test("a killed child ends by that signal")
    func killing() async throws {
        let child = try await ChildProcess("/bin/cat", [])
        #expect(child.signal(SIGKILL))
        #expect(await child.exit() == .signal(SIGKILL))
    }

    @Test("a stopped child answers only when it is continued")
    func stopping() async throws {
        let child = try await ChildProcess("/bin/cat", [])
        child.signal(SIGSTOP)
        child.send("hello")
        child.signal(SIGCONT)
        #expect(await child.lines.first { _ in true } == "hello")
        await child.stop()
        #expect(await child.exit() == .code(0))
    }

    @Test("a child that ignores the end of its input is killed after the grace")
    func stubborn() async throws {
        let child = try await shell("trap '' TERM HUP; echo up; while :; do read x || exec 0</dev/zero; done")
        _ = await child.lines.first { _ in true }
        await child.stop(grace: .milliseconds(100))
        #expect(await child.exit() == .signal(SIGKILL))
    }

    @Test("a child inherits nothing that keeps its siblings' inputs open when we are gone")
    func inheritance() throws {
        let sockets = try SocketPair()
        defer {
            sockets.closeOurs()
            sockets.closeChilds()
        }
        #expect(fcntl(sockets.ours, F_GETFD) & FD_CLOEXEC != 0)
        #expect(fcntl(sockets.childs, F_GETFD) & FD_CLOEXEC != 0)
    }

    @Test("a child neither ignores nor blocks what we ignore", arguments: [SIGPIPE, SIGINT, SIGTERM, SIGHUP])
    func signals(_ number: Int32) async throws {
        StandardStream.ignoreBrokenPipes()
        let child = try await shell("kill -\(number) $$; echo survived")
        #expect(await child.exit() == .signal(number))
    }

    @Test("a variable reaches the child by its environment")
    func environment() async throws {
        let child = try await shell("echo \"$SINGLEFLIGHT_TEST\"", environment: ["SINGLEFLIGHT_TEST": "a b"])
        #expect(await child.lines.first { _ in true } == "a b")
    }

    @Test("a program that is not there is a clear error")
    func missing() async {
        await #expect(throws: CommandFailure.self) { try await ChildProcess("/nonexistent/program", []) }
    }

    @Test("lines are found in whatever pieces they arrive")
    func decoding() throws {
        var decoder = LineDecoder()
        var buffer = ByteBuffer()
        var lines: [String] = []
        for byte in "one\r\n\ntwo\nrest".utf8 {
            buffer.writeInteger(byte)
            while let line = try decoder.decode(buffer: &buffer) { lines.append(line) }
        }
        #expect(lines == ["one", "", "two"])
        #expect(try decoder.decodeLast(buffer: &buffer, seenEOF: true) == nil)
    }
}

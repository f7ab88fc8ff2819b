import NIOCore
import Testing

@testable import HiredisClient

/// What each kind of error reply means: for the command, for another attempt, and for the connection.
@Suite("The classes of error replies")
struct ServerErrorClassTests {
    struct Kind: Sendable, CustomTestStringConvertible {
        var reply: String
        var code: String
        var isTransient: Bool
        var mayHaveExecuted: Bool
        var endsConnection: Bool
        var testDescription: String { self.reply }

        init(_ reply: String, _ code: String, transient: Bool, executed: Bool, ends: Bool = false) {
            self.reply = reply
            self.code = code
            self.isTransient = transient
            self.mayHaveExecuted = executed
            self.endsConnection = ends
        }
    }

    private static let before7 = "ERR Error running script (call to f_5b): @user_script:9: @user_script: 9: "

    static let kinds: [Kind] = [
        Kind(
            "READONLY You can't write against a read only replica.",
            "READONLY",
            transient: true,
            executed: false,
            ends: true
        ),
        Kind("LOADING Redis is loading the dataset in memory", "LOADING", transient: true, executed: false, ends: true),
        Kind(
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "MASTERDOWN",
            transient: true,
            executed: false,
            ends: true
        ),
        Kind("BUSY Redis is busy running a script.", "BUSY", transient: true, executed: false),
        Kind("OOM command not allowed when used memory > 'maxmemory'.", "OOM", transient: true, executed: false),
        Kind("MISCONF Redis is configured to save RDB snapshots", "MISCONF", transient: true, executed: false),
        Kind("NOREPLICAS Not enough good replicas to write.", "NOREPLICAS", transient: true, executed: false),
        Kind("CLUSTERDOWN Hash slot not served", "CLUSTERDOWN", transient: true, executed: false),
        Kind("TRYAGAIN Multiple keys request during rehashing of slot", "TRYAGAIN", transient: true, executed: false),
        Kind("NOAUTH Authentication required.", "NOAUTH", transient: false, executed: false, ends: true),
        Kind("NOPERM this user has no permissions to run 'set'", "NOPERM", transient: false, executed: false),
        Kind("WRONGPASS invalid username-password pair", "WRONGPASS", transient: false, executed: false),
        Kind("DENIED Redis is running in protected mode", "DENIED", transient: false, executed: false),
        Kind("NOSCRIPT No matching script.", "NOSCRIPT", transient: false, executed: false),
        Kind("MOVED 3999 127.0.0.1:6381", "MOVED", transient: false, executed: false),
        Kind("ASK 3999 127.0.0.1:6381", "ASK", transient: false, executed: false),
        Kind("CROSSSLOT Keys in request don't hash to the same slot", "CROSSSLOT", transient: false, executed: false),
        Kind("WRONGTYPE Operation against a key", "WRONGTYPE", transient: false, executed: true),
        Kind("ERR unknown command 'FOO'", "ERR", transient: false, executed: true),
        // As servers before 7.0 tell it of a command inside of a script.
        Kind(before7 + "-READONLY You can't write against", "READONLY", transient: true, executed: false, ends: true),
        Kind(before7 + "-OOM command not allowed", "OOM", transient: true, executed: false),
        Kind(before7 + "-MISCONF Redis is configured", "MISCONF", transient: true, executed: false),
        Kind(before7 + "-NOREPLICAS Not enough", "NOREPLICAS", transient: true, executed: false),
        Kind(before7 + "attempt to compare nil with number", "ERR", transient: false, executed: true),
        Kind("ERR Error running script: - minus", "ERR", transient: false, executed: true),
    ]

    @Test(
        "a reply is told by its code, also from within a script on an old server",
        arguments: ServerErrorClassTests.kinds
    )
    func classes(_ kind: Kind) {
        let error = RedisServerError(message: kind.reply)
        #expect(error.code == kind.code)
        #expect(error.isTransient == kind.isTransient)
        #expect(RedisClientError.server(error).mayHaveExecuted == kind.mayHaveExecuted)
        #expect((error.endOfConnection != nil) == kind.endsConnection)
    }

    @Test(
        "a connection takes no more commands after such a reply, and ends when those in flight are answered",
        arguments: ServerErrorClassTests.kinds
    )
    func connection(_ kind: Kind) throws {
        var configuration = RedisClientConfiguration(url: RedisURL(endpoint: .tcp(host: "127.0.0.1", port: 1)))
        configuration.requiresPrimary = true
        var machine = ConnectionMachine<Int>(
            handshake: Handshake(configuration),
            channel: nil,
            times: .init(
                handshakeTimeout: .seconds(1),
                pingInterval: .seconds(5),
                pingTimeout: .seconds(3),
                silence: .seconds(1)
            ),
            now: .uptimeNanoseconds(0)
        )
        _ = machine.received(.array([.bulk(Array("master".utf8))]))
        _ = machine.received(.simpleString("PONG"))
        try #require(machine.acceptsCommands)
        machine.submit(
            (1...2).map { Submission(completion: $0, deadline: .distantFuture, byteCount: 1) },
            now: .uptimeNanoseconds(0)
        )
        guard case .answer(let first, .failure(let failure)) = machine.received(.error(.init(message: kind.reply))),
            first.completion == 1
        else {
            Issue.record("the command is answered with the server's error")
            return
        }
        #expect(failure.serverError?.message == kind.reply)
        #expect(machine.acceptsCommands == !kind.endsConnection)
        switch machine.received(.simpleString("OK")) {
        case .answer(let second, .success):
            #expect(second.completion == 2)
            #expect(!kind.endsConnection)
        case .answerAndClose(let second, .success, let reason):
            #expect(second.completion == 2)
            #expect(kind.endsConnection)
            #expect(reason.serverError?.message == kind.reply)
        default: Issue.record("the second command is answered")
        }
    }

    @Test(
        "a server that cannot read a script's first line is told by its words",
        arguments: [
            ("ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'", true),
            ("ERR Unexpected flag in script shebang: allow-oom", true),
            ("ERR Could not find scripting engine 'lua'", true),
            // Dragonfly's and kvrocks'.
            ("ERR Invalid flag: allow-oom", true), ("ERR allow-oom is not supported yet", true),
            ("ERR Unknown flag given: allow-oom", true),
            ("ERR user_script:3: attempt to index a nil value", false),
            ("OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'", false),
        ]
    )
    func shebang(_ message: String, _ isRejected: Bool) {
        #expect(RedisServerError(message: message).rejectsShebang == isRejected)
    }
}

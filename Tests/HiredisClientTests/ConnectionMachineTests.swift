import NIOCore
import Testing

@testable import HiredisClient

/// One connection as a value: what it makes of silence, of signs of life, and of replies nobody asked for.
@Suite struct ConnectionMachineTests {
    private static let url = RedisURL(endpoint: .tcp(host: "127.0.0.1", port: 1))

    private static func time(_ milliseconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(0) + .milliseconds(milliseconds)
    }

    /// A connection that has shaken hands at time 0.
    private static func ready(channel: String? = nil) -> ConnectionMachine<Int> {
        var configuration = RedisClientConfiguration(url: Self.url)
        configuration.requiresPrimary = channel == nil
        var machine = ConnectionMachine<Int>(
            handshake: Handshake(configuration, channel: channel),
            channel: channel,
            times: .init(
                handshakeTimeout: .milliseconds(500),
                pingInterval: .milliseconds(100),
                pingTimeout: .milliseconds(50),
                silence: .milliseconds(40)
            ),
            now: time(0)
        )
        for step in machine.handshake.steps {
            let reply: RESPValue =
                switch step {
                case .role: .array([.bulk(Array("master".utf8))])
                case .subscribe(let channel):
                    .array([.bulk(Array("subscribe".utf8)), .bulk(Array(channel.utf8)), .integer(1)])
                default: .simpleString("OK")
                }
            _ = machine.received(reply)
        }
        return machine
    }

    private static func isPing(_ action: ConnectionMachine<Int>.TimerAction) -> Bool {
        if case .sendPing = action { true } else { false }
    }

    private static func closing(_ action: ConnectionMachine<Int>.TimerAction) -> RedisClientError? {
        if case .close(let error) = action { error } else { nil }
    }

    @Test("a handshake that is not answered in time ends the connection")
    func handshake() {
        var machine = ConnectionMachine<Int>(
            handshake: Handshake(RedisClientConfiguration(url: Self.url)),
            channel: nil,
            times: .init(
                handshakeTimeout: .milliseconds(500),
                pingInterval: .seconds(1),
                pingTimeout: .seconds(1),
                silence: .seconds(1)
            ),
            now: Self.time(0)
        )
        let at499 = machine.timerFired(now: Self.time(499))
        #expect(Self.closing(at499) == nil)
        let at500 = machine.timerFired(now: Self.time(500))
        #expect(Self.closing(at500)?.code == .connectionFailed)
    }

    @Test("after a command that was not answered the server must carry out a script, or say that it will not")
    func afterSilence() {
        var configuration = RedisClientConfiguration(url: Self.url)
        #expect(!Handshake(configuration).steps.contains(.evaluateNothing))
        #expect(!Handshake(configuration, channel: "inbox", afterSilence: true).steps.contains(.evaluateNothing))
        let handshake = Handshake(configuration, afterSilence: true)
        #expect(handshake.steps.last == .evaluateNothing)
        let mayNot = RESPValue.error(RedisServerError(message: "NOPERM no scripts for this user"))
        #expect(handshake.steps.last?.verdict(on: mayNot) == nil)
        let unknown = RESPValue.error(RedisServerError(message: "NOAUTH log in"))
        #expect(handshake.steps.last?.verdict(on: unknown)?.code == .authenticationFailed)
        configuration.requiresPrimary = false
        #expect(!Handshake(configuration, afterSilence: true).steps.contains(.evaluateNothing))
    }

    @Test("a silent connection is pinged, and given up if nothing is heard after that", arguments: [nil, "inbox"])
    func silence(channel: String?) {
        var machine = Self.ready(channel: channel)
        let at99 = machine.timerFired(now: Self.time(99))
        #expect(!Self.isPing(at99))
        let at100 = machine.timerFired(now: Self.time(100))
        #expect(Self.isPing(at100))
        let at149 = machine.timerFired(now: Self.time(149))
        #expect(Self.closing(at149) == nil)
        let at150 = machine.timerFired(now: Self.time(150))
        #expect(Self.closing(at150)?.code == .timedOut)
    }

    /// Clients that wanted the PONG itself have cut connections that were busy delivering.
    @Test("any byte is as good as the answer to a ping", arguments: [nil, "inbox"])
    func anyByte(channel: String?) {
        var machine = Self.ready(channel: channel)
        let at100 = machine.timerFired(now: Self.time(100))
        #expect(Self.isPing(at100))
        machine.heard(now: Self.time(120))
        let at150 = machine.timerFired(now: Self.time(150))
        #expect(Self.closing(at150) == nil)
    }

    /// hiredis' own asynchronous layer delivers it as one.
    @Test("the answer to a ping is no message, and the inbox stays subscribed")
    func pongOnInbox() {
        var machine = Self.ready(channel: "inbox")
        let pong = RESPValue.array([.bulk(Array("pong".utf8)), .bulk([])])
        guard case .none = machine.received(pong) else {
            Issue.record("not ignored")
            return
        }
        let push = RESPValue.array([.bulk(Array("message".utf8)), .bulk(Array("inbox".utf8)), .bulk([7])])
        guard case .deliver([7]) = machine.received(push) else {
            Issue.record("not delivered")
            return
        }
    }

    @Test(
        "what an inbox should not be sent ends it",
        arguments: [
            RESPValue.array([.bulk(Array("message".utf8)), .bulk(Array("another".utf8)), .bulk([7])]),
            .integer(1), .null, .array([]), .error(RedisServerError(message: "ERR no")),
        ]
    )
    func strangePush(push: RESPValue) {
        var machine = Self.ready(channel: "inbox")
        guard case .close = machine.received(push) else {
            Issue.record("\(push) was accepted")
            return
        }
    }

    /// A late reply would be taken for the next command's.
    @Test("a command past its deadline ends the connection, and what was in flight with it is unknown")
    func deadline() {
        var machine = Self.ready()
        machine.submit(
            [
                Submission(completion: 1, deadline: Self.time(30), byteCount: 0),
                Submission(completion: 2, deadline: Self.time(900), byteCount: 0),
            ],
            now: Self.time(0)
        )
        guard let reason = Self.closing(machine.timerFired(now: Self.time(30))) else {
            Issue.record("not closed")
            return
        }
        let ended = machine.close(reason, now: Self.time(30))
        #expect(ended.map(\.0.completion) == [1, 2])
        #expect(ended.map(\.1.code) == [.timedOut, .unknownOutcome])
        guard case .none = machine.received(.simpleString("late")) else {
            Issue.record("a late reply was used")
            return
        }
    }

    @Test("a reply to no command ends the connection")
    func unasked() {
        var machine = Self.ready()
        guard case .close(let error) = machine.received(.simpleString("OK")) else {
            Issue.record("it was accepted")
            return
        }
        #expect(error.code == .protocolViolation)
    }

    private static func late(_ action: ConnectionMachine<Int>.TimerAction) -> [Int] {
        if case .answerLate(let submissions) = action { submissions.map(\.completion) } else { [] }
    }

    private static func answered(_ action: ConnectionMachine<Int>.ReplyAction) -> Int? {
        if case .answer(let submission, _) = action { submission.completion } else { nil }
    }

    /// A long answer to one command would else reset the connection of all, again and again.
    @Test("while something moves a command past its deadline is answered, and the connection goes on")
    func lateWhileMoving() {
        var machine = Self.ready()
        machine.submit(
            [
                Submission(completion: 1, deadline: Self.time(30), byteCount: 0),
                Submission(completion: 2, deadline: Self.time(900), byteCount: 0),
            ],
            now: Self.time(0)
        )
        machine.heard(now: Self.time(20))
        let at30 = machine.timerFired(now: Self.time(30))
        #expect(Self.late(at30) == [1])
        // Its answer is not taken for the next one's.
        let first = machine.received(.simpleString("late"))
        #expect(Self.answered(first) == nil)
        let second = machine.received(.simpleString("OK"))
        #expect(Self.answered(second) == 2)
    }

    @Test("a long request may take as long as some of it moves, in either direction, and no longer")
    func long() {
        var machine = Self.ready()
        machine.submit([Submission(completion: 1, deadline: Self.time(300), byteCount: 0)], now: Self.time(0))
        for milliseconds in stride(from: Int64(30), through: 120, by: 30) {
            if milliseconds.isMultiple(of: 60) {
                machine.heard(now: Self.time(milliseconds))
            } else {
                machine.taken(now: Self.time(milliseconds))
            }
            let action = machine.timerFired(now: Self.time(milliseconds))
            #expect(Self.closing(action) == nil)
        }
        #expect(machine.nextWake(now: Self.time(120)) == Self.time(160))
        let at159 = machine.timerFired(now: Self.time(159))
        #expect(Self.closing(at159) == nil)
        let at160 = machine.timerFired(now: Self.time(160))
        #expect(Self.closing(at160)?.code == .timedOut)
    }

    @Test("a server that moves and is always late is given up in the end")
    func alwaysLate() {
        var machine = Self.ready()
        machine.submit([Submission(completion: 1, deadline: Self.time(40), byteCount: 0)], now: Self.time(0))
        var closedAt: Int64?
        for milliseconds in stride(from: Int64(10), through: 1_000, by: 10) where closedAt == nil {
            machine.heard(now: Self.time(milliseconds))
            let action = machine.timerFired(now: Self.time(milliseconds))
            if Self.closing(action) != nil { closedAt = milliseconds }
        }
        #expect(closedAt == 200)
    }

    @Test("a string that is too long is the failure of one command")
    func tooLong() {
        var machine = Self.ready()
        machine.submit([Submission(completion: 1, deadline: Self.time(30), byteCount: 0)], now: Self.time(0))
        guard case .answer(let submission, .failure(let error)) = machine.received(.tooLong(1_000)) else {
            Issue.record("not answered")
            return
        }
        #expect(submission.completion == 1)
        #expect(error.code == .replyTooLong && error.mayHaveExecuted)
    }
}

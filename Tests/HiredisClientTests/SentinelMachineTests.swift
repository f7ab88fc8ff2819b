import Testing

@testable import HiredisClient

/// Where the primary is, as a value: whom to ask, whom to believe, and when it moved.
@Suite struct SentinelMachineTests {
    private static let sentinels = (0..<3).map { RedisAddress.tcp(host: "s\($0)", port: 26_379) }
    private static let (a, b) = (RedisAddress.tcp(host: "a", port: 1), RedisAddress.tcp(host: "b", port: 2))

    /// What a machine did, in words.
    private static func words(_ actions: [SentinelMachine.Action]) -> [String] {
        actions.map { action in
            switch action {
            case .ask(let index, _): "ask \(index)"
            case .answer(.success(let address)): "answer \(address)"
            case .answer(.failure(let error)): "fail \(error.code)"
            case .move(let address): "move \(address)"
            case .rest: "rest"
            }
        }
    }

    private static func round(_ actions: [SentinelMachine.Action]) throws -> SentinelMachine.Round {
        try #require(
            actions.lazy.compactMap { action -> SentinelMachine.Round? in
                if case .ask(_, let round) = action { round } else { nil }
            }.first
        )
    }

    private static func machine() -> SentinelMachine {
        SentinelMachine(sentinels: sentinels, primary: "main")
    }

    /// A machine that has had a round in which every sentinel told of `a`.
    private static func settled() throws -> SentinelMachine {
        var machine = machine()
        let round = try round(machine.wanted())
        for index in 0..<3 { _ = machine.replied(index, in: round, .primary(a, epoch: 1)) }
        return machine
    }

    private static let silence = SentinelMachine.Reply.failed(RedisClientError(.connectionFailed, "s: refused"))

    @Test("the first sentinel that knows the primary answers all who wait, and the others are asked all the same")
    func round() throws {
        var machine = Self.machine()
        let begin = machine.wanted()
        #expect(Self.words(begin) == ["ask 0"])
        #expect(machine.wanted().isEmpty)
        let round = try Self.round(begin)
        #expect(Self.words(machine.replied(0, in: round, Self.silence)) == ["ask 1"])
        #expect(Self.words(machine.replied(1, in: round, .primary(Self.a, epoch: 1))) == ["answer a:1", "ask 2"])
        #expect(Self.words(machine.replied(2, in: round, .primary(Self.a, epoch: 1))) == ["rest"])
    }

    @Test("the sentinel that answered is asked first next time, and one that is down last")
    func order() throws {
        var machine = Self.machine()
        let round = try Self.round(machine.wanted())
        _ = machine.replied(0, in: round, Self.silence)
        _ = machine.replied(1, in: round, .primary(Self.a, epoch: 1))
        _ = machine.replied(2, in: round, .primary(Self.a, epoch: 1))
        #expect(machine.order == [1, 0, 2])
        #expect(Self.words(machine.tick()) == ["ask 1"])
    }

    @Test("of sentinels that disagree the one with the highest epoch is right: connections elsewhere are dropped")
    func epochs() throws {
        var machine = Self.machine()
        let round = try Self.round(machine.wanted())
        #expect(
            Self.words(machine.replied(0, in: round, .primary(Self.a, epoch: 4))) == ["answer a:1", "ask 1"]
        )
        #expect(Self.words(machine.replied(1, in: round, .primary(Self.b, epoch: 5))) == ["ask 2"])
        #expect(Self.words(machine.replied(2, in: round, .primary(Self.a, epoch: 3))) == ["move b:2", "rest"])
        #expect(machine.current == Self.b)
        #expect(machine.order.first == 1)
    }

    @Test("a sentinel that does not tell its epoch, or an older one, contradicts nobody")
    func noEpoch() throws {
        var machine = Self.machine()
        let round = try Self.round(machine.wanted())
        _ = machine.replied(0, in: round, .primary(Self.a, epoch: 4))
        _ = machine.replied(1, in: round, .primary(Self.b, epoch: -1))
        #expect(Self.words(machine.replied(2, in: round, .primary(Self.b, epoch: 4))) == ["rest"])
        #expect(machine.current == Self.a)
    }

    @Test("a change that is found by asking, because its announcement was missed, drops connections")
    func missedAnnouncement() throws {
        var machine = try Self.settled()
        let round = try Self.round(machine.tick())
        #expect(
            Self.words(machine.replied(0, in: round, .primary(Self.b, epoch: 2)))
                == ["move b:2", "answer b:2", "ask 1"]
        )
    }

    @Test("an announcement is believed if it is of our primary, and only then")
    func announcement() throws {
        var machine = try Self.settled()
        #expect(machine.announced("other a 1 c 3", by: 2).isEmpty)
        #expect(machine.announced("main a 1 b", by: 2).isEmpty)
        #expect(machine.announced("main a 1 b 99999", by: 2).isEmpty)
        #expect(machine.announced("mainly a 1 b 2", by: 2).isEmpty)
        #expect(Self.words(machine.announced("main a 1 b 2", by: 2)) == ["move b:2", "rest"])
        #expect(machine.order.first == 2)
        #expect(Self.words(machine.announced("main a 1 b 2", by: 1)) == ["rest"])
    }

    @Test("an announcement is newer than an answer that is under way")
    func announcementWithinRound() throws {
        var machine = try Self.settled()
        let old = try Self.round(machine.tick())
        let actions = machine.announced("main a 1 b 2", by: 1)
        #expect(Self.words(actions) == ["move b:2", "ask 1"])
        #expect(machine.replied(0, in: old, .primary(Self.a, epoch: 1)).isEmpty)
        #expect(machine.current == Self.b)
    }

    @Test("who wants to know gets news, and not what was told before")
    func fresh() throws {
        var machine = Self.machine()
        let first = try Self.round(machine.wanted())
        _ = machine.replied(0, in: first, .primary(Self.a, epoch: 1))
        let begin = machine.wanted()
        #expect(Self.words(begin) == ["ask 0"])
        #expect(machine.replied(1, in: first, .primary(Self.b, epoch: 9)).isEmpty)
    }

    @Test("a sentinel that told of what is no primary is asked last next time, once")
    func refuted() throws {
        var machine = try Self.settled()
        machine.refuted(Self.b)
        #expect(machine.order == [0, 1, 2])
        machine.refuted(Self.a)
        machine.refuted(Self.a)
        #expect(machine.order == [1, 2, 0])
    }

    @Test("a name that most sentinels do not know is a mistake of the configuration, and all who wait hear of it")
    func unknownName() throws {
        var machine = Self.machine()
        let round = try Self.round(machine.wanted())
        _ = machine.replied(0, in: round, .unknownName)
        _ = machine.replied(1, in: round, Self.silence)
        let end = machine.replied(2, in: round, .unknownName)
        #expect(Self.words(end) == ["fail misconfigured", "rest"])
        guard case .answer(.failure(let error)) = end.first else { return }
        #expect(error.message.contains("'main'"))
        #expect(error.message.contains("s2:26379 knows no primary of that name"))
        #expect(error.message.contains("refused"))
    }

    @Test(
        "sentinels that cannot be asked fail those who wait, for good only if all of them will go on to refuse",
        arguments: [
            ([.authenticationFailed, .authenticationFailed, .authenticationFailed], .authenticationFailed),
            ([.authenticationFailed, .connectionFailed, .authenticationFailed], .connectionFailed),
            ([.timedOut, .timedOut, .connectionFailed], .connectionFailed),
            ([.misconfigured, .misconfigured, .misconfigured], .misconfigured),
        ] as [([RedisClientError.Code], RedisClientError.Code)]
    )
    func unreachable(codes: [RedisClientError.Code], code: RedisClientError.Code) throws {
        var machine = Self.machine()
        let round = try Self.round(machine.wanted())
        var actions: [SentinelMachine.Action] = []
        for (index, code) in codes.enumerated() {
            actions = machine.replied(index, in: round, .failed(RedisClientError(code, "s\(index)")))
        }
        #expect(Self.words(actions) == ["fail \(code)", "rest"])
        // The next attempt asks all of them again.
        #expect(Self.words(machine.wanted()) == ["ask 0"])
    }

    @Test("a wrong address in an answer is none")
    func addresses() {
        #expect(SentinelMachine.address(host: "h", port: "6379") == .tcp(host: "h", port: 6379))
        #expect(SentinelMachine.address(host: "::1", port: "1") == .tcp(host: "::1", port: 1))
        for (host, port) in [("", "1"), ("h", "0"), ("h", "65536"), ("h", ""), ("h", "x")] {
            #expect(SentinelMachine.address(host: host, port: port) == nil)
        }
    }
}

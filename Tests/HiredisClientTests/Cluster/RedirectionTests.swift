import NIOCore
import Testing

@testable import HiredisClient

/// What a node's answer means for the request, and how it is sent again.
@Suite("Redirections")
struct RedirectionTests {
    private static let node = NodeAddress(host: "here", port: 7000)
    private static let other = NodeAddress(host: "10.0.0.2", port: 7001)

    private static func time(_ milliseconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(0) + .milliseconds(milliseconds)
    }

    private func redirection(_ message: String) -> Redirection? {
        Redirection(RedisServerError(message: message), from: Self.node)
    }

    @Test("are read, whatever the host looks like")
    func read() throws {
        let slot = try #require(HashSlot(3999))
        #expect(redirection("MOVED 3999 10.0.0.2:7001") == .moved(slot, Self.other))
        #expect(redirection("MOVED 3999 :7001") == .moved(slot, NodeAddress(host: "here", port: 7001)))
        #expect(redirection("MOVED 3999 ?:7001") == .moved(slot, NodeAddress(host: "here", port: 7001)))
        #expect(
            redirection("MOVED 3999 2001:db8::2:7001") == .moved(slot, NodeAddress(host: "2001:db8::2", port: 7001))
        )
        #expect(redirection("ASK 3999 10.0.0.2:7001") == .ask(Self.other))
        #expect(redirection("TRYAGAIN Multiple keys request during rehashing of slot") == .tryAgain)
        #expect(redirection("CLUSTERDOWN The cluster is down") == .unready)
    }

    @Test(
        "nobody traps on a word of the server's",
        arguments: ["MOVED", "MOVED x y", "MOVED 1", "MOVED 99999 h:1", "MOVED 1 h", "ASK", "ASK 1 h:0", "ERR", ""]
    )
    func malformed(message: String) {
        #expect(redirection(message) == nil)
    }

    @Test("a slot that has moved is followed at once, and ASK is of this one request, with ASKING")
    func first() throws {
        let slot = try #require(HashSlot(1))
        var machine = RedirectMachine()
        let moved = machine.handle(.moved(slot, Self.other), now: Self.time(0), deadline: Self.time(1000), random: 0.5)
        #expect(moved == .again(after: .zero, asking: nil))
        machine = RedirectMachine()
        let ask = machine.handle(.ask(Self.other), now: Self.time(0), deadline: Self.time(1000), random: 0.5)
        #expect(ask == .again(after: .zero, asking: Self.other))
    }

    @Test("nodes that point to one another are left after five redirections, with a growing pause between")
    func pingPong() throws {
        let slot = try #require(HashSlot(1))
        var machine = RedirectMachine()
        var pauses: [TimeAmount] = []
        while case .again(let pause, _) = machine.handle(
            .moved(slot, Self.other),
            now: Self.time(0),
            deadline: Self.time(10_000),
            random: 1
        ) { pauses.append(pause) }
        #expect(pauses == [0, 10, 20, 40, 80].map { .milliseconds($0) })
        #expect(machine.redirects == RedirectMachine.mostRedirects + 1)
    }

    @Test("TRYAGAIN of the node that was asked is waited for there, and not at the node that sent us")
    func tryAgainWhereAsked() {
        var machine = RedirectMachine()
        let (now, deadline) = (Self.time(0), Self.time(1000))
        _ = machine.handle(.ask(Self.other), now: now, deadline: deadline, random: 1)
        for pause in [10, 20, 40] {
            let verdict = machine.handle(.tryAgain, now: now, deadline: deadline, random: 1)
            #expect(verdict == .again(after: .milliseconds(Int64(pause)), asking: Self.other))
        }
        #expect(machine.redirects == 1)
        let down = machine.handle(.unready, now: now, deadline: deadline, random: 1)
        #expect(down == .again(after: .milliseconds(80), asking: nil))
    }

    @Test("TRYAGAIN and CLUSTERDOWN wait longer and longer, and end with the caller's deadline")
    func waiting() {
        for redirection in [Redirection.tryAgain, .unready] {
            var machine = RedirectMachine()
            var now = Self.time(0)
            var pauses: [TimeAmount] = []
            while case .again(let pause, let asking) = machine.handle(
                redirection,
                now: now,
                deadline: Self.time(1000),
                random: 1
            ) {
                #expect(asking == nil)
                pauses.append(pause)
                now = now + pause
            }
            #expect(Array(pauses.prefix(6)) == [10, 20, 40, 80, 160, 200].map { .milliseconds($0) })
            #expect(now > Self.time(700) && now < Self.time(1000))
        }
    }
}

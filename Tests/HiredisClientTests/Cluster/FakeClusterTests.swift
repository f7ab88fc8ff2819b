import Foundation
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import HiredisClient

/// What clients of clusters were bitten by: played by nodes that do just that.
@Suite("A client among nodes that do not make it easy", .timeLimit(.minutes(4)))
struct FakeClusterTests {
    private static let key = "{tag}key"
    private static let order = RedisOrder(1, in: HashSlot(of: key))

    private func get(_ client: RedisClusterClient) async throws -> RESPValue {
        try await client.send(RedisCommand("GET", .string(Self.key)), order: Self.order)
    }

    private func expect(
        _ client: RedisClusterClient,
        tells expected: RESPValue,
        at location: SourceLocation = #_sourceLocation
    ) async throws {
        let reply = try await get(client)
        #expect(reply == expected, sourceLocation: location)
    }

    @Test("ASK is followed with ASKING right before the command, and changes no table")
    func ask() async throws {
        try await FakeCluster.with { asked, cluster in
            guard asked.command.first == "GET" else { return nil }
            let isFirst = cluster.commands("GET", at: 0).count == 1
            guard asked.node == 0 else { return .reply("+there\r\n") }
            return .reply(
                isFirst ? "-ASK \(Self.order.slot?.number ?? 0) 127.0.0.1:\(cluster.port(1))\r\n" : "+here\r\n"
            )
        } _: { cluster, client in
            try await expect(client, tells: .simpleString("there"))
            try await expect(client, tells: .simpleString("here"))
            let commands = cluster.server(1).commands
            let index = try #require(commands.firstIndex(of: ["ASKING"]))
            #expect(commands[index + 1] == ["GET", Self.key])
            #expect(cluster.commands("ASKING", at: 1).count == 1)
        }
    }

    @Test("a script that was asked for goes by its source, behind an ASKING of its own")
    func askedScript() async throws {
        try await FakeCluster.with { asked, cluster in
            switch (asked.command.first, asked.node) {
            case ("EVALSHA", 0): .reply("-ASK 1 127.0.0.1:\(cluster.port(1))\r\n")
            case ("EVALSHA", 1): .reply("-NOSCRIPT No matching script.\r\n")
            case ("EVAL", 1): .reply("+done\r\n")
            default: nil
            }
        } _: { cluster, client in
            let script = RedisScript("return 1")
            let reply = try await client.evaluate(script, keys: [.string(Self.key)], order: Self.order)
            #expect(reply == .simpleString("done"))
            let commands = cluster.server(1).commands
            let index = try #require(commands.firstIndex(of: ["ASKING"]))
            #expect(commands[index + 1].prefix(2) == ["EVAL", "return 1"])
        }
    }

    @Test("MOVED changes the table, and where the host is left open it is the one that was asked")
    func moved() async throws {
        try await FakeCluster.with { asked, cluster in
            guard asked.command.first == "GET" else { return nil }
            return .reply(
                asked.node == 0 ? "-MOVED \(Self.order.slot?.number ?? 0) :\(cluster.port(1))\r\n" : "+there\r\n"
            )
        } _: { cluster, client in
            try await expect(client, tells: .simpleString("there"))
            try await expect(client, tells: .simpleString("there"))
            #expect(cluster.commands("GET", at: 0).count == 1)
        }
    }

    @Test("TRYAGAIN: the same node again, a little later, and nobody is asked for the topology")
    func tryAgain() async throws {
        try await FakeCluster.with { asked, cluster in
            guard asked.command.first == "GET" else { return nil }
            let isEarly = cluster.commands("GET", at: 0).count < 3
            return .reply(isEarly ? "-TRYAGAIN Multiple keys request during rehashing of slot\r\n" : "+here\r\n")
        } _: { cluster, client in
            try await expect(client, tells: .simpleString("here"))
            #expect(cluster.commands("GET", at: 0).count == 3)
            #expect((0..<2).map { cluster.commands("CLUSTER", at: $0).count }.reduce(0, +) == 2)
        }
    }

    @Test("nodes that point to one another are asked five times more, and then the caller is told")
    func pingPong() async throws {
        try await FakeCluster.with { asked, cluster in
            guard asked.command.first == "GET" else { return nil }
            return .reply("-MOVED \(Self.order.slot?.number ?? 0) 127.0.0.1:\(cluster.port(1 - asked.node))\r\n")
        } _: { cluster, client in
            let error = await #expect(throws: RedisClientError.self) { try await get(client) }
            #expect(error?.serverError?.code == "MOVED")
            #expect(error?.mayHaveExecuted == false)
            #expect((0..<2).map { cluster.commands("GET", at: $0).count }.reduce(0, +) == 6)
        }
    }

    @Test("a cluster that is down: the error that it tells, within the command's time")
    func down() async throws {
        try await FakeCluster.with { asked, _ in
            asked.command.first == "GET" ? .reply("-CLUSTERDOWN The cluster is down\r\n") : nil
        } configure: {
            $0.commandTimeout = .seconds(4)
        } _: { _, client in
            let error = await #expect(throws: RedisClientError.self) { try await get(client) }
            // Also where the last sending was under way when the time was up.
            #expect(error?.serverError?.code == "CLUSTERDOWN", "\(String(describing: error))")
        }
    }

    @Test("a cluster that is down, and does not answer any more: whatever ends the request, its last word is told")
    func downAndSilent() async throws {
        let answers = Counter()
        try await FakeCluster.with { asked, _ in
            // A server that is silent answers nothing that comes later either.
            guard answers.value == 0 else { return .silence }
            guard asked.command.first == "GET" else { return nil }
            answers.increment()
            return .reply("-CLUSTERDOWN The cluster is down\r\n")
        } configure: {
            // The first answer has to come within it.
            $0.commandTimeout = .seconds(4)
        } _: { _, client in
            let error = await #expect(throws: RedisClientError.self) { try await get(client) }
            // The time is up, or the silent connection is over: before the command is sent again, or after that.
            let codes: [RedisClientError.Code] = [.timedOut, .notSent, .unknownOutcome]
            #expect(codes.contains { $0 == error?.code }, "\(String(describing: error))")
            #expect(error?.serverError?.code == "CLUSTERDOWN", "\(String(describing: error))")
        }
    }

    @Test("a script that another node does not know is sent there by its source")
    func unknownScript() async throws {
        try await FakeCluster.with { asked, cluster in
            switch (asked.command.first, asked.node) {
            case ("EVALSHA", 0): .reply("-MOVED \(Self.order.slot?.number ?? 0) 127.0.0.1:\(cluster.port(1))\r\n")
            case ("EVALSHA", 1): .reply("-NOSCRIPT No matching script.\r\n")
            case ("EVAL", 1): .reply("+done\r\n")
            default: nil
            }
        } _: { cluster, client in
            for _ in 0..<2 {
                let reply = try await client.evaluate(
                    RedisScript("return 1"),
                    keys: [.string(Self.key)],
                    order: Self.order
                )
                #expect(reply == .simpleString("done"))
            }
            #expect(cluster.commands("EVAL", at: 1).count == 2)
        }
    }

    @Test("where every node has another address, the seeds tell the new ones, and what waited goes there")
    func allAddressesChange() async throws {
        let isGone = Mutex(false)
        try await FakeCluster.with(nodes: 3, seeds: [2]) { asked, cluster in
            if asked.node == 0, isGone.withLock({ $0 }) { return .replyAndClose("") }
            guard asked.command.first == "GET" else { return nil }
            return .reply("+node \(asked.node)\r\n")
        } _: { cluster, client in
            try await expect(client, tells: .simpleString("node 0"))
            isGone.withLock { $0 = true }
            cluster.owner.withLock { $0 = 1 }
            try await until("the new node is in use") {
                (try? await get(client)) == .simpleString("node 1")
            }
        }
    }

    @Test("addresses that nobody answers at, beside one that somebody does")
    func deadSeed() async throws {
        try await FakeCluster.with(nodes: 2, seeds: [1, 0]) { asked, _ in
            if asked.node == 1 { return .silence }
            return asked.command.first == "GET" ? .reply("+here\r\n") : nil
        } configure: {
            $0.commandTimeout = .seconds(10)
        } _: { _, client in
            try await expect(client, tells: .simpleString("here"))
        }
    }

    @Test("a server that is no node of a cluster is said to be none")
    func noCluster() async throws {
        try await FakeCluster.with(nodes: 1) { asked, _ in
            asked.command.first == "CLUSTER" ? .reply("-ERR This instance has cluster support disabled\r\n") : nil
        } _: { cluster, client in
            let error = await #expect(throws: RedisClientError.self) {
                try await client.connected(within: .seconds(20))
            }
            #expect(error?.code == .misconfigured)
            #expect(error?.description.contains("127.0.0.1:\(cluster.port(0)) is no node of a cluster") == true)
            let command = await #expect(throws: RedisClientError.self) { try await get(client) }
            #expect(command?.mayHaveExecuted == false)
        }
    }

    @Test("a password that is refused is told at once")
    func wrongPassword() async throws {
        try await FakeCluster.with(nodes: 1) { asked, _ in
            asked.command.first == "AUTH" ? .reply("-WRONGPASS invalid username-password pair\r\n") : nil
        } configure: {
            $0.target.credentials = RedisCredentials(password: "wrong")
        } _: { _, client in
            let error = await #expect(throws: RedisClientError.self) {
                try await client.connected(within: .seconds(20))
            }
            #expect(error?.code == .authenticationFailed)
        }
    }

    @Test("a server that does not know CLUSTER SLOTS is asked for its shards")
    func shards() async throws {
        try await FakeCluster.with(nodes: 1) { asked, cluster in
            switch asked.command.dropFirst().first {
            case "SLOTS": return .reply("-ERR Unknown subcommand or wrong number of arguments for 'SLOTS'\r\n")
            case "SHARDS":
                let place = "$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n:\(cluster.port(0))\r\n"
                let state = "$4\r\nrole\r\n$6\r\nmaster\r\n$6\r\nhealth\r\n$6\r\nonline\r\n"
                let slots = "$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n"
                return .reply("*1\r\n*4\r\n\(slots)$5\r\nnodes\r\n*1\r\n*8\r\n\(place)\(state)")
            default: return asked.command.first == "GET" ? .reply("+here\r\n") : nil
            }
        } _: { _, client in
            try await expect(client, tells: .simpleString("here"))
        }
    }
}

/// The same for the subscriber.
@Suite("Shard channels among nodes that do not make it easy", .timeLimit(.minutes(4)))
struct FakeShardTests {
    private final class Events: Sendable {
        private let state = Mutex<[String]>([])

        var all: [String] { state.withLock { $0 } }

        func add(_ event: ShardSubscriber.Event) {
            let text =
                switch event {
                case .resumed(let tags): "resumed \(tags.sorted())"
                case .lost(let tags): "lost \(tags.sorted())"
                case .message(let channel, let payload): "\(channel) \(String(decoding: payload, as: UTF8.self))"
                case .unsupported: "unsupported"
                case .refused: "refused"
                }
            state.withLock { $0.append(text) }
        }
    }

    private func withSubscriber(
        _ client: RedisClusterClient,
        _ body: (ShardSubscriber, Events) async throws -> Void
    ) async throws {
        let events = Events()
        let subscriber = ShardSubscriber(cluster: client) { events.add($0) }
        do {
            try await body(subscriber, events)
        } catch {
            await subscriber.shutdown()
            throw error
        }
        await subscriber.shutdown()
    }

    private static func slot(_ channel: String) -> HashSlot { HashSlot(of: channel) }

    @Test("each slot has a SSUBSCRIBE of its own")
    func oneEach() async throws {
        try await FakeCluster.with { cluster, client in
            try await withSubscriber(client) { subscriber, _ in
                for tag in 0..<3 {
                    subscriber.want("{\(tag)}in", slot: Self.slot("{\(tag)}in"), tag: UInt16(tag))
                }
                for tag in 0..<3 { try await subscriber.subscribed(tag: UInt16(tag), within: .seconds(20)) }
                let commands = cluster.commands("SSUBSCRIBE", at: 0)
                #expect(commands.map(\.count) == [2, 2, 2])
            }
        }
    }

    @Test("MOVED as the answer to SSUBSCRIBE is followed, and CLUSTERDOWN waited for")
    func redirected() async throws {
        try await FakeCluster.with { asked, cluster in
            guard asked.command.first == "SSUBSCRIBE" else { return nil }
            let slot = Self.slot("{1}in").number
            if asked.node == 0 { return .reply("-MOVED \(slot) 127.0.0.1:\(cluster.port(1))\r\n") }
            return cluster.commands("SSUBSCRIBE", at: 1).count < 3
                ? .reply("-CLUSTERDOWN Hash slot not served\r\n") : nil
        } _: { cluster, client in
            try await withSubscriber(client) { subscriber, events in
                subscriber.want("{1}in", slot: Self.slot("{1}in"), tag: 1)
                try await subscriber.subscribed(tag: 1, within: .seconds(20))
                try await until("it is told") { events.all.contains("resumed [1]") }
                #expect(cluster.commands("SSUBSCRIBE", at: 1).count >= 3)
            }
        }
    }

    @Test("sunsubscribe that nobody asked for: lost, and subscribed anew")
    func unsubscribed() async throws {
        try await FakeCluster.with { asked, cluster in
            guard asked.command.first == "SSUBSCRIBE", asked.node == 0 else { return nil }
            cluster.owner.withLock { $0 = 1 }
            let channel = asked.command[1]
            return .reply(
                FakeCluster.push("ssubscribe", channel) + ":1\r\n" + FakeCluster.push("smessage", channel)
                    + "$2\r\nhi\r\n"
                    + FakeCluster.push("sunsubscribe", channel) + ":0\r\n"
            )
        } _: { cluster, client in
            try await withSubscriber(client) { subscriber, events in
                subscriber.want("{1}in", slot: Self.slot("{1}in"), tag: 1)
                try await until("it is lost") { events.all.contains("lost [1]") }
                #expect(events.all.contains("{1}in hi"))
                try await until("it is subscribed at the other") { !cluster.commands("SSUBSCRIBE", at: 1).isEmpty }
                try await until("that is told") { events.all.last == "resumed [1]" }
            }
        }
    }

    @Test("a push that nobody knows costs a connection, and nothing else")
    func unexpectedPush() async throws {
        try await FakeCluster.with { asked, cluster in
            guard asked.command.first == "SSUBSCRIBE", cluster.commands("SSUBSCRIBE", at: 0).count == 1 else {
                return nil
            }
            return .reply(FakeCluster.push("ssubscribe", asked.command[1]) + ":1\r\n*2\r\n$3\r\nfoo\r\n:1\r\n")
        } _: { cluster, client in
            try await withSubscriber(client) { subscriber, events in
                subscriber.want("{1}in", slot: Self.slot("{1}in"), tag: 1)
                try await until("it is subscribed anew") { cluster.commands("SSUBSCRIBE", at: 0).count > 1 }
                try await until("that is told") { events.all.contains("lost [1]") && events.all.last == "resumed [1]" }
            }
        }
    }

    @Test("an answer that does not come in time costs a connection, and is asked for again")
    func noAnswer() async throws {
        try await FakeCluster.with { asked, cluster in
            guard asked.command.first == "SSUBSCRIBE", cluster.commands("SSUBSCRIBE", at: 0).count == 1 else {
                return nil
            }
            return .silence
        } configure: {
            $0.commandTimeout = .milliseconds(300)
        } _: { _, client in
            try await withSubscriber(client) { subscriber, _ in
                subscriber.want("{1}in", slot: Self.slot("{1}in"), tag: 1)
                try await subscriber.subscribed(tag: 1, within: .seconds(20))
            }
        }
    }

    @Test("a node that forgot the channel without a word is found out when it is asked who listens")
    func forgotten() async throws {
        try await FakeCluster.with { asked, _ in
            guard asked.command.first == "PUBSUB" else { return nil }
            return .reply("*2\r\n$5\r\n{1}in\r\n:0\r\n")
        } _: { cluster, client in
            try await withSubscriber(client) { subscriber, events in
                subscriber.want("{1}in", slot: Self.slot("{1}in"), tag: 1)
                try await subscriber.subscribed(tag: 1, within: .seconds(20))
                client.eventLoop.execute { subscriber.verify() }
                try await until("it is subscribed anew") { cluster.commands("SSUBSCRIBE", at: 0).count > 1 }
                #expect(events.all.contains("lost [1]"))
            }
        }
    }

    @Test("servers without shard channels are found out, once")
    func unsupported() async throws {
        try await FakeCluster.with { asked, _ in
            asked.command.first == "SSUBSCRIBE" ? .reply("-ERR unknown command `SSUBSCRIBE`, with args\r\n") : nil
        } _: { _, client in
            try await withSubscriber(client) { subscriber, events in
                for tag in 0..<3 {
                    subscriber.want("{\(tag)}in", slot: Self.slot("{\(tag)}in"), tag: UInt16(tag))
                }
                try await until("it is told") { events.all.contains("unsupported") }
                #expect(events.all == ["unsupported"])
            }
        }
    }
}

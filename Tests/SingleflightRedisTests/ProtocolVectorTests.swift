import Foundation
import HiredisClient
import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightLease
@testable import SingleflightRedis

/// The vectors in docs/protocol, by which clients in other languages are tested, are what this client does.
///
/// `SINGLEFLIGHT_WRITE_VECTORS=1` writes them anew.
@Suite("The protocol's vectors", .usesServer, .timeLimit(.minutes(4)))
struct ProtocolVectorTests {
    private static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "docs/protocol")

    private func check(_ name: String, _ vectors: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let made = try encoder.encode(vectors)
        let file = Self.directory.appending(path: name)
        if ProcessInfo.processInfo.environment["SINGLEFLIGHT_WRITE_VECTORS"] != nil {
            try (made + Data("\n".utf8)).write(to: file)
        }
        let (written, own) = (try Self.entries(Data(contentsOf: file)), try Self.entries(made))
        #expect(written.count == own.count, "docs/protocol/\(name) is of another version")
        for (index, (written, own)) in zip(written, own).enumerated() {
            #expect(written == own, "docs/protocol/\(name), entry \(index)")
        }
    }

    /// As objects: how the text is laid out does not matter.
    private static func entries(_ json: Data) throws -> [NSDictionary] {
        try #require(try JSONSerialization.jsonObject(with: json) as? [[String: Any]]).map { $0 as NSDictionary }
    }

    private static func token(_ digit: String) throws -> LeaseToken {
        try #require(LeaseToken(String(repeating: digit, count: 32)))
    }

    private static func inbox(_ digit: String) throws -> InboxID {
        try #require(InboxID(String(repeating: digit, count: 32)))
    }

    // MARK: - Names

    private struct Name: Encodable {
        var namespace, group, keyInHexadecimal, token, inbox: String
        var database, partition, slot: Int
        var lease, wait, done, last, chunks, fence, inboxChannel, eventChannel, announcedName: String
        /// On a cluster.
        var shardInboxChannel, shardEventChannel: String
    }

    @Test("names")
    func names() throws {
        let keys: [[UInt8]] = [
            Array("front-page".utf8), Array("user:42/profile".utf8), [], [0, 0x0A, 0x20, 0x25, 0x7B, 0x7D, 0x7F, 0xFF],
            Array("~tilde~".utf8), Array("größe".utf8), Array(repeating: 0x61, count: 256),
            Array(repeating: 0x61, count: 257), Array(repeating: 0xC3, count: 86),
        ]
        let (token, inbox) = (try Self.token("5"), try Self.inbox("7"))
        let vectors = try ["shop", "a.b-c_1"].flatMap { namespace in
            try keys.enumerated().map { index, bytes in
                let database = namespace == "shop" ? 0 : 3
                let keyspace = Keyspace(namespace: namespace, database: database)
                let group = index % 2 == 0 ? "pages" : "a.b"
                let key = try FlightKey(group: group, bytes: bytes)
                let names = keyspace.names(of: key)
                return Name(
                    namespace: namespace,
                    group: group,
                    keyInHexadecimal: bytes.map { String(format: "%02x", $0) }.joined(),
                    token: "\(token)",
                    inbox: "\(inbox)",
                    database: database,
                    partition: Int(names.partition),
                    slot: Int(keyspace.slot(of: Int(names.partition)).number),
                    lease: names.lease.description,
                    wait: names.wait.description,
                    done: names.done(token).description,
                    last: names.last.description,
                    chunks: names.chunks(token).description,
                    fence: names.fence.description,
                    inboxChannel: keyspace.inboxPrefix + "\(inbox)",
                    eventChannel: keyspace.eventChannel,
                    announcedName: Keyspace.announcedName(of: key),
                    shardInboxChannel: keyspace.shardInbox(inbox, of: Int(names.partition)),
                    shardEventChannel: keyspace.shardEventChannel(of: Int(names.partition))
                )
            }
        }
        try self.check("names.json", vectors)
    }

    // MARK: - Records

    private struct Record: Encodable {
        var token, inbox: String
        var lease, grace, retention, permittedTakeovers, takeovers: Int64
        var waitsFor: [String]
        var label: String
        var renewals: Int
        var record: String
    }

    @Test("lease records")
    func records() throws {
        func record(_ policy: LeaderLossPolicy, _ attempt: Int, _ awaited: [String], _ note: LeaseRecord.Note) throws
            -> Record
        {
            var record = LeaseRecord(
                token: try Self.token("1"),
                inbox: try Self.inbox("2"),
                duration: .seconds(10),
                grace: .milliseconds(2500),
                retention: .seconds(86_400),
                leaderLoss: policy,
                attempt: attempt,
                note: note
            )
            record.awaited = try awaited.map { .init(name: $0, token: try Self.token("3")) }
            return Record(
                token: "\(record.token)",
                inbox: "\(record.inbox)",
                lease: record.duration.milliseconds,
                grace: record.grace.milliseconds,
                retention: record.retention.milliseconds,
                permittedTakeovers: Int64(policy.permittedTakeovers),
                takeovers: Int64(attempt),
                waitsFor: awaited,
                label: note.label,
                renewals: note.renewals,
                record: String(decoding: record.bytes, as: UTF8.self)
            )
        }
        let plain = LeaseRecord.Note(label: "host:1", startedAt: 1_700_000_000_000, renewals: 0)
        let full = LeaseRecord.Note(
            label: "a \"quoted\"\nlabel",
            startedAt: 1_700_000_000_000,
            renewals: 7,
            fraction: 0.5,
            message: "half",
            report: 2,
            trace: ["traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            key: "a long key"
        )
        try self.check(
            "records.json",
            [
                try record(.cancel, 0, [], plain),
                try record(.takeOver(attempts: 3), 2, ["29:pages:front-page", "7:a.b:x%20y"], full),
            ]
        )
    }

    // MARK: - Messages

    private struct Message: Encodable {
        var message: String
        var name, token, meaning: String
    }

    @Test("announcements")
    func announcements() throws {
        let token = String(repeating: "5", count: 32)
        let messages = [
            "2vi\(token)pages:front\nSF\u{1}\u{6}json/1\u{6}host:1\"value\"", "2vh\(token)pages:front\n",
            "2ei\(token)pages:front\nSF\u{1}\u{D}group-error/1\u{6}host:1storeFull\nno room",
            "2ci\(token)pages:front\nexpired", "2ci\(token)pages:front\nrevoked\nops\nwhy", "2hh\(token)pages:front\n",
            "2wh\(token)pages:front\n", "2uh\(token)pages:front\n", "2pi\(token)pages:front\n2 0.5\nhalf",
            "2pi\(token)pages:front\n3 \nno share", "2di\(token)pages:front\n4\n\n\u{0}a\nchunk",
            "2di\(token)pages:front\n5\n",
        ]
        let vectors = try messages.map { text in
            let message = try #require(AnnouncementMessage(bytes: Array(text.utf8)))
            let meaning =
                switch message.announcement.news {
                case .outcome(.value): "the flight ended with this value"
                case .outcome(.failure): "the flight ended with this failure"
                case .outcome(.canceled(let reason)): "the flight is canceled: \(reason)"
                case .hint: "ask"
                case .unawaited: "nobody else waits"
                case .progress(let progress):
                    "report \(progress.number), the share done is \(progress.fraction.map { "\($0)" } ?? "not known"): "
                        + progress.message
                case .chunk(let chunk):
                    "behind \(chunk.index) chunks there is one more"
                        + (chunk.bytes.map { " of \($0.count) bytes" } ?? ", to be read")
                }
            return Message(
                message: text,
                name: message.name,
                token: "\(message.announcement.token)",
                meaning: meaning
            )
        }
        for ignored in ["2nh\(token)pages:front\n", "1vi\(token)pages:front\nx", "2vi\(token)pages:front", "2"] {
            #expect(AnnouncementMessage(bytes: Array(ignored.utf8)) == nil)
        }
        try self.check("announcements.json", vectors)
    }

    private struct EnvelopeVector: Encodable {
        var codec, leader, bodyInHexadecimal, envelopeInHexadecimal: String
        var trace: [String: String]
    }

    @Test("envelopes")
    func envelopes() throws {
        var trace = TraceContext()
        trace.set("traceparent", to: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        func hexadecimal(_ bytes: [UInt8]) -> String { bytes.map { String(format: "%02x", $0) }.joined() }
        let envelopes = [
            Envelope(codec: "json/1", leader: "host:1", body: Array("\"value\"".utf8)),
            Envelope(codec: "json/1", leader: "host:1", trace: trace, body: Array("[1,2]".utf8)),
            Envelope(codec: "bytes/1", leader: "größe", body: [0, 1, 0xFF]),
            Envelope(codec: "group-error/1", leader: "host:1", body: Array("storeFull\nno room".utf8)),
        ]
        for envelope in envelopes {
            let read = try Envelope(bytes: envelope.bytes)
            #expect(read == envelope)
        }
        let vectors = envelopes.map { envelope in
            EnvelopeVector(
                codec: envelope.codec,
                leader: envelope.leader,
                bodyInHexadecimal: hexadecimal(envelope.body),
                envelopeInHexadecimal: hexadecimal(envelope.bytes),
                trace: envelope.trace?.fields ?? [:]
            )
        }
        try self.check("envelopes.json", vectors)
    }

    // MARK: - Scripts

    private struct Step: Encodable {
        var what: String
        /// Its name, or `GET`: then the answer is what the lease's key holds.
        var script: String
        var keys, arguments, answer: [String]
    }

    /// Steps of one story, in which nothing expires by itself.
    @Test("each script's answers")
    func scripts() async throws {
        let (a, b, c, d) = (try Self.token("a"), try Self.token("b"), try Self.token("c"), try Self.token("d"))
        let (e, f, g) = (try Self.token("e"), try Self.token("f"), try Self.token("0"))
        let h = try Self.token("1")
        let inboxes = ["1", "2", "3"].map { String(repeating: $0, count: 32) }
        let keyspace = Keyspace(namespace: "shop")
        let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
        let names = keyspace.names(of: key)
        let (lease, wait, last) = (names.lease.description, names.wait.description, names.last.description)
        func done(_ token: LeaseToken) -> String { names.done(token).description }
        func record(_ token: LeaseToken, _ inbox: String, takeovers: String = "000") -> String {
            "\(token)\(inbox)006000000060000000600000\(takeovers)0000000{\"label\":\"host:1\",\"startedAt\":0,\"renewals\":0}"
        }
        let channels = keyspace.inboxPrefix
        func enter(_ token: LeaseToken, _ inbox: Int, reuse: Int = 0, lapsed: LeaseToken? = nil) -> [String] {
            [
                "\(token)", record(token, inboxes[inbox], takeovers: "001"), inboxes[inbox], "\(reuse)", "0",
                lapsed?.description ?? "", "0", channels, "",
            ]
        }
        let story: [(what: String, script: String, keys: [String], arguments: [String])] = [
            ("the first leads", "enter", [lease, wait, done(a), last], enter(a, 0)),
            ("again, after a lost answer", "enter", [lease, wait, done(a), last], enter(a, 0)),
            ("the record is as it was written", "GET", [lease], []),
            ("the second follows", "enter", [lease, wait, done(b), last], enter(b, 1)),
            ("the record is marked: the leader's comparison fails from now on", "GET", [lease], []),
            (
                "the request of the second is taken back", "release", [lease, wait, done(b)],
                ["\(b)", "w", inboxes[1], channels, ""]
            ),
            (
                "the second asks, and is registered", "poll", [lease, wait, done(a)],
                ["\(a)", inboxes[1], "0", channels, ""]
            ),
            ("it leaves another flight", "leave", [lease, wait], ["\(c)", inboxes[1], channels, ""]),
            ("it leaves this one", "leave", [lease, wait], ["\(a)", inboxes[1], channels, ""]),
            ("the second follows again", "enter", [lease, wait, done(b), last], enter(b, 1)),
            (
                "a renewal", "renew", [lease, wait, done(a)],
                ["\(a)", record(a, inboxes[0]), "0", "2 0.5\nhalf", channels, ""]
            ),
            (
                "a renewal under another token", "renew", [lease, wait, done(c)],
                ["\(c)", record(c, inboxes[2]), "0", "", channels, ""]
            ),
            ("the mark stays", "GET", [lease], []),
            ("the flight waits for another", "depend", [lease], ["\(a)", "7:pages:other \(c)\n"]),
            ("the mark stays behind the note", "GET", [lease], []),
            (
                "the leader shuts down: the flight may be taken over", "release", [lease, wait, done(a)],
                ["\(a)", "s", inboxes[0], channels, ""]
            ),
            (
                "a renewal after that", "renew", [lease, wait, done(a)],
                ["\(a)", record(a, inboxes[0]), "0", "", channels, ""]
            ),
            (
                "the second asks, and may enter", "poll", [lease, wait, done(a)],
                ["\(a)", inboxes[1], "0", channels, ""]
            ),
            ("it does not know which lease has expired", "enter", [lease, wait, done(c), last], enter(c, 1)),
            ("it takes over", "enter", [lease, wait, done(c), last, done(a)], enter(c, 1, lapsed: a)),
            ("the mark stays for those who wait", "GET", [lease], []),
            (
                "who waited for the first learns of the second", "poll", [lease, wait, done(a)],
                ["\(a)", inboxes[2], "0", channels, ""]
            ),
            (
                "the lost leader's result", "complete", [lease, wait, done(a), last],
                ["\(a)", "v", "late", "0", channels, ""]
            ),
            (
                "the third waits for the second", "poll", [lease, wait, done(c)],
                ["\(c)", inboxes[2], "0", channels, ""]
            ),
            ("the result", "complete", [lease, wait, done(c), last], ["\(c)", "v", "value", "600000", channels, ""]),
            (
                "again, after a lost answer", "complete", [lease, wait, done(c), last],
                ["\(c)", "v", "value", "600000", channels, ""]
            ),
            ("the third asks", "poll", [lease, wait, done(c)], ["\(c)", inboxes[2], "0", channels, ""]),
            ("a reused outcome", "enter", [lease, wait, done(d), last], enter(d, 0, reuse: 1)),
            (
                "it is not kept for long enough: a refresh", "enter", [lease, wait, done(h), last],
                enter(h, 1, reuse: 3_600_000)
            ),
            ("it is reused meanwhile", "enter", [lease, wait, done(d), last], enter(d, 0, reuse: 1)),
            (
                "the refresh fails, and the earlier outcome stays", "complete", [lease, wait, done(h), last],
                ["\(h)", "e", "no", "-1", channels, ""]
            ),
            ("it is still reused", "enter", [lease, wait, done(d), last], enter(d, 0, reuse: 1)),
            ("another flight", "enter", [lease, wait, done(d), last], enter(d, 0)),
            ("a process waits", "poll", [lease, wait, done(d)], ["\(d)", inboxes[1], "0", channels, ""]),
            ("the record is marked, whatever registered the process", "GET", [lease], []),
            ("which flight is there to revoke", "revoke", [lease, wait], ["", "revoked\nops\nwhy", channels, ""]),
            ("it is revoked", "revoke", [lease, wait, done(d)], ["\(d)", "revoked\nops\nwhy", channels, ""]),
            (
                "the leader learns of it", "renew", [lease, wait, done(d)],
                ["\(d)", record(d, inboxes[0]), "0", "", channels, ""]
            ),
            ("a fence without a lease", "fence", [lease, names.fence.description], ["\(d)", "0"]),
            ("nothing is known", "poll", [lease, wait, done(b)], ["\(b)", inboxes[2], "0", channels, ""]),
            ("a flight that nobody shares", "enter", [lease, wait, done(e), last], enter(e, 0)),
            (
                "the first chunk of its stream", "append", [lease, wait, done(e), names.chunks(e).description],
                ["\(e)", "0", "first", "600000", channels]
            ),
            (
                "again, after a lost answer", "append", [lease, wait, done(e), names.chunks(e).description],
                ["\(e)", "0", "first", "600000", channels]
            ),
            (
                "a chunk behind one that is not there", "append", [lease, wait, done(e), names.chunks(e).description],
                ["\(e)", "2", "third", "600000", channels]
            ),
            (
                "the second chunk", "append", [lease, wait, done(e), names.chunks(e).description],
                ["\(e)", "1", "second", "600000", channels]
            ),
            (
                "no chunk: the others are kept", "append", [lease, wait, done(e), names.chunks(e).description],
                ["\(e)", "2", "", "600000", channels]
            ),
            (
                "a chunk of a flight that is not led", "append", [lease, wait, done(d), names.chunks(d).description],
                ["\(d)", "0", "late", "600000", channels]
            ),
            ("all chunks", "read", [names.chunks(e).description], ["0", "1000", "0"]),
            (
                "as many as fit into ten bytes, behind the first", "read", [names.chunks(e).description],
                ["1", "10", "0"]
            ),
            ("one at least", "read", [names.chunks(e).description], ["0", "1", "0"]),
            ("of a flight that has none", "read", [names.chunks(d).description], ["0", "1000", "0"]),
            (
                "its result, kept for reuse", "complete", [lease, wait, done(e), last],
                ["\(e)", "v", "latest", "600000", channels, ""]
            ),
            (
                "again, after a lost answer: the latest result says so", "complete", [lease, wait, done(e), last],
                ["\(e)", "v", "latest", "600000", channels, ""]
            ),
            ("a flight that may be taken over", "enter", [lease, wait, done(f), last], enter(f, 0)),
            ("the second waits for it", "poll", [lease, wait, done(f)], ["\(f)", inboxes[1], "0", channels, ""]),
            ("its leader hands over", "release", [lease, wait, done(f)], ["\(f)", "h", "", channels, ""]),
            ("the second takes over", "enter", [lease, wait, done(g), last, done(f)], enter(g, 1, lapsed: f)),
            (
                "the third waits for the second", "poll", [lease, wait, done(g)],
                ["\(g)", inboxes[2], "0", channels, ""]
            ),
            (
                "the request that took over is taken back", "release", [lease, wait, done(g)],
                ["\(g)", "w", inboxes[1], channels, ""]
            ),
            (
                "the third asks, and may enter: the takeover has not been one", "poll", [lease, wait, done(g)],
                ["\(g)", inboxes[2], "0", channels, ""]
            ),
            (
                "the first request comes again: that it was taken over is no outcome", "enter",
                [lease, wait, done(f), last], enter(f, 0)
            ),
            ("the third takes over", "enter", [lease, wait, done(f), last, done(g)], enter(f, 2, lapsed: g)),
            (
                "nobody else waits: given up without a trace", "release", [lease, wait, done(f)],
                ["\(f)", "u", "", channels, ""]
            ),
            (
                "a result that comes after that", "complete", [lease, wait, done(f), last],
                ["\(f)", "v", "x", "0", channels, ""]
            ),
        ]
        let steps = try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                var steps: [Step] = []
                for step in story {
                    let words = (step.keys + step.arguments).map { RedisArgument.string($0) }
                    var command = RedisCommand("GET", arguments: words)
                    if step.script != "GET" {
                        let script = try #require(LeaseScripts.named.first { $0.name == step.script })
                        let older = ServerVersion.current.isBefore7 ? RedisScript(script.source).legacyBody : nil
                        let head = [
                            RedisArgument.string(older?.source ?? script.source),
                            .integer(Int64(step.keys.count)),
                        ]
                        command = RedisCommand("EVAL", arguments: head + words)
                    }
                    let reply = try await store.client.send(command)
                    let answer = (reply.array ?? [reply]).map(Self.text)
                    steps.append(
                        Step(
                            what: step.what,
                            script: step.script,
                            keys: step.keys,
                            arguments: step.arguments,
                            answer: answer
                        )
                    )
                }
                return steps
            }
        }
        try self.check("scripts.json", steps)
    }

    /// Times differ from run to run.
    private static func text(_ value: RESPValue) -> String {
        if let integer = value.integer { return integer > 1000 ? "<milliseconds>" : "\(integer)" }
        return value.string ?? "nil"
    }
}

import HiredisClient
import Logging
import PrivateRedis
import TestSupport
import Testing

/// The client against a real redis-server that speaks TLS.
@Suite(.usesServer) struct TLSTests {
    /// Of each test its own: what a process keeps to its end stays in the temporary directory for good.
    private let certificates: Certificates

    init() throws {
        self.certificates = try Certificates()
    }

    @Test("commands and a subscription go through TLS", arguments: ["localhost", "127.0.0.1"])
    func encrypted(host: String) async throws {
        try await withTLSServer { server in
            try await withClient(try configuration(server.url(host, trusting: "ca"))) { client in
                try await client.connected(within: .seconds(20))
                let value = (0..<1 << 20).map { UInt8(truncatingIfNeeded: $0 &* 31) }
                _ = try await client.send(RedisCommand("SET", "big", .bytes(value)))
                #expect(try await client.send(RedisCommand("GET", "big")).bytes == value)

                let (messages, continuation) = AsyncStream.makeStream(of: [UInt8].self)
                let inbox = client.makeSubscription(to: "inbox") { event in
                    if case .message(let message) = event { continuation.yield(message) }
                }
                inbox.start()
                try await inbox.subscribed(within: .seconds(20))
                _ = try await client.send(RedisCommand("PUBLISH", "inbox", "hello"))
                #expect(await messages.first { _ in true } == Array("hello".utf8))
                await inbox.shutdown()
            }
        }
    }

    @Test("a server whose certificate nobody vouches for is refused, and the error says how to trust it")
    func untrusted() async throws {
        try await withTLSServer { server in
            let error = try await failure(of: server.url("localhost", trusting: "stranger"), telling: "not trusted")
            #expect(error.code == .connectionFailed)
            #expect(error.description.contains("not trusted"))
            #expect(error.description.contains("?ca=file"))
        }
    }

    @Test("a certificate for another name is refused", arguments: ["localhost", "127.0.0.1"])
    func wrongName(host: String) async throws {
        try await withTLSServer(certificate: "elsewhere") { server in
            let error = try await failure(of: server.url(host, trusting: "ca"), telling: "certificate")
            #expect(error.code == .connectionFailed)
            #expect(error.description.contains("certificate"))
        }
    }

    @Test("a certificate for a name is taken from an address, if that name is given, and no other")
    func serverName() async throws {
        try await withTLSServer(certificate: "elsewhere") { server in
            let url = server.url("127.0.0.1", trusting: "ca")
            try await withClient(try configuration(url + "&server-name=elsewhere.invalid")) { client in
                try await client.connected(within: .seconds(20))
            }
            let error = try await failure(of: url + "&server-name=localhost", telling: "certificate")
            #expect(error.code == .connectionFailed)
        }
    }

    @Test("a plain connection to a port for TLS is told what it met")
    func plainClient() async throws {
        try await withTLSServer { server in
            let error = try await failure(of: "redis://127.0.0.1:\(server.port)", telling: "rediss://")
            #expect(error.message.contains("is TLS spoken on this port (rediss://)?"))
        }
    }

    @Test("a server that wants a certificate takes ours, and refuses who has none or a stranger's")
    func mutual() async throws {
        try await withTLSServer(wantsCertificate: true) { server in
            let refused = try await failure(
                of: server.url("localhost", trusting: "ca"),
                telling: "wants a certificate"
            )
            #expect(refused.code == .connectionFailed)
            #expect(refused.description.contains("wants a certificate"))

            func url(showing name: String) -> String {
                server.url("localhost", trusting: "ca")
                    + "&cert=\(certificates.certificate(name))&key=\(certificates.key(name))"
            }
            let stranger = try await failure(of: url(showing: "stranger"), telling: "does not trust")
            #expect(stranger.code == .connectionFailed)
            #expect(stranger.description.contains("does not trust this client's certificate"))

            try await withClient(try configuration(url(showing: "localhost"))) { client in
                try await client.connected(within: .seconds(20))
                #expect(try await client.send(RedisCommand("PING")).string == "PONG")
            }
        }
    }

    @Test("where no TLS is spoken, the error asks whether it is")
    func plainServer() async throws {
        try await PrivateRedis.with(.init(listening: .tcp(.free))) { redis in
            let port = try #require(redis.port)
            let error = try await failure(of: "rediss://localhost:\(port)", telling: "is TLS spoken on this port?")
            #expect(error.code == .connectionFailed)
            #expect(error.description.contains("is TLS spoken on this port?"))
        }
    }

    @Test("a file that cannot be read is named as the reason, and nothing is sent")
    func missingFile() async throws {
        let error = try await failure(of: "rediss://127.0.0.1:1?ca=/nonexistent/ca.pem", telling: "cannot connect to")
        #expect(error.code == .connectionFailed)
        #expect(error.description.contains("cannot connect to rediss://127.0.0.1:1/0"))
        #expect(error.message.contains("the file /nonexistent/ca.pem cannot be read: No such file or directory"))
    }

    // MARK: Stage

    /// Why the client cannot connect; it is asked until it tells `text`, since a busy server takes its time to answer.
    private func failure(of url: String, telling text: String) async throws -> RedisClientError {
        let client = RedisClient(configuration: try configuration(url), logger: Logger(label: "test"))
        client.start()
        var failure: RedisClientError?
        for _ in 0..<60 where failure?.description.contains(text) != true {
            failure = await #expect(throws: RedisClientError.self) {
                try await client.connected(within: .milliseconds(500))
            }
        }
        await client.shutdown()
        return try #require(failure)
    }

    private func configuration(_ url: String) throws -> RedisClientConfiguration {
        var configuration = RedisClientConfiguration(try RedisTarget(url))
        configuration.commandTimeout = .seconds(20)
        configuration.connectTimeout = .seconds(20)
        configuration.handshakeTimeout = .seconds(20)
        return configuration
    }

    private struct Server {
        let port: Int
        let certificates: Certificates

        func url(_ host: String, trusting authority: String) -> String {
            "rediss://\(host):\(port)?ca=\(certificates.certificate(authority))"
        }
    }

    private func withTLSServer(
        certificate: String = "localhost",
        wantsCertificate: Bool = false,
        _ body: (Server) async throws -> Void
    ) async throws {
        let (redis, port) = try await start(
            [
                "tls-cert-file \(certificates.certificate(certificate))",
                "tls-key-file \(certificates.key(certificate))",
                "tls-ca-cert-file \(certificates.certificate("ca"))",
                "tls-auth-clients \(wantsCertificate ? "yes" : "no")",
            ]
        )
        do {
            try await body(Server(port: port, certificates: certificates))
        } catch {
            await redis.stop()
            throw error
        }
        await redis.stop()
    }

    /// The port is a guess, like all ports of private servers; another one if it is taken.
    private func start(_ lines: [String]) async throws -> (PrivateRedis, port: Int) {
        var attempts = 10
        while true {
            let port = Int.random(in: 20_000..<32_000)
            do {
                return (try await PrivateRedis.start(.init(extraLines: lines + ["tls-port \(port)"])), port)
            } catch {
                guard attempts > 1 else { throw error }
                attempts -= 1
            }
        }
    }
}

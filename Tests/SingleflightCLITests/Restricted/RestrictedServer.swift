import HiredisClient
import NIOCore
import NIOPosix
import PrivateRedis
import Synchronization

/// A server that does not do everything: a Redis behind a proxy that refuses commands, one by one.
///
/// What is refused goes to the server as a command that it answers with the error, so that every answer keeps its
/// place.
final class RestrictedServer: Sendable {
    /// Where clients connect to.
    let url: String
    private let rules: Rules
    private let listener: any Channel

    final class Rules: Sendable {
        private let restrictions: Mutex<Restrictions>

        init(_ restrictions: Restrictions) { self.restrictions = Mutex(restrictions) }

        func passed(_ words: [[UInt8]]) -> [[UInt8]] { self.restrictions.withLock { $0.passed(words) } }

        var struck: Set<Restriction> { self.restrictions.withLock { $0.struck } }
    }

    /// What clients have met of the restrictions.
    var struck: Set<Restriction> { self.rules.struck }

    static func with<Result>(
        _ refused: Set<Restriction>,
        _ refusing: Refusing,
        _ body: (RestrictedServer) async throws -> Result
    ) async throws -> Result {
        try await PrivateRedis.with { redis in
            let server = try await RestrictedServer(Rules(Restrictions(refused, refusing)), redis.socketPath ?? "")
            do {
                let result = try await body(server)
                try await server.listener.close()
                return result
            } catch {
                try? await server.listener.close()
                throw error
            }
        }
    }

    private init(_ rules: Rules, _ socketPath: String) async throws {
        self.rules = rules
        self.listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { client in
                // Nothing is read from the client before there is somebody to hand it to.
                ClientBootstrap(group: client.eventLoop).connect(unixDomainSocketPath: socketPath).flatMap { server in
                    client.eventLoop.makeCompletedFuture {
                        try client.pipeline.syncOperations.addHandler(Requests(to: server, rules))
                        try server.pipeline.syncOperations.addHandler(Replies(to: client))
                    }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        self.url = "redis://127.0.0.1:\(self.listener.localAddress?.port ?? 0)"
    }

    private final class Requests: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let server: any Channel
        private let rules: Rules
        private var reader = RESPReader()

        init(to server: any Channel, _ rules: Rules) {
            self.server = server
            self.rules = rules
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            self.unwrapInboundIn(data).withUnsafeReadableBytes { self.reader.feed($0) }
            var bytes = ByteBuffer()
            do {
                while let command = try self.reader.next() {
                    let words = self.rules.passed(command.array?.compactMap(\.bytes) ?? [])
                    bytes.writeString("*\(words.count)\r\n")
                    for word in words {
                        bytes.writeString("$\(word.count)\r\n")
                        bytes.writeBytes(word)
                        bytes.writeString("\r\n")
                    }
                }
            } catch {
                return context.close(promise: nil)
            }
            self.server.writeAndFlush(bytes, promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { self.server.close(promise: nil) }
    }

    private final class Replies: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let client: any Channel

        init(to client: any Channel) { self.client = client }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            self.client.writeAndFlush(self.unwrapInboundIn(data), promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { self.client.close(promise: nil) }
    }
}

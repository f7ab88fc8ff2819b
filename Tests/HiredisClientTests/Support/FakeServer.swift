import Foundation
import HiredisClient
import NIOCore
import NIOPosix
import Synchronization

/// A server that answers as a test tells it to.
final class FakeServer: Sendable {
    enum Reaction: Sendable {
        case reply(String)
        case replyAndClose(String)
        /// The first text, then the second over and over, for as long as the client takes it, or until it took very
        /// much.
        case replyWithoutEnd(String, String)
        case silence
    }

    /// `nil` leaves it to the server, which knows how to shake hands. The first argument counts connections from zero.
    typealias Respond = @Sendable (Int, [String]) -> Reaction?

    private let listener: any Channel
    private let recorder: Recorder

    private final class Recorder: Sendable {
        let connections = Mutex(0)
        let commands = Mutex<[[String]]>([])
        let resets = Mutex(0)
        let endlessBytes = Mutex(0)
    }

    init(_ respond: @escaping Respond) async throws {
        let recorder = Recorder()
        self.recorder = recorder
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                let index = recorder.connections.withLock { count in
                    defer { count += 1 }
                    return count
                }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        Handler { command in
                            recorder.commands.withLock { $0.append(command) }
                            return respond(index, command) ?? FakeServer.courtesy(command)
                        } onReset: {
                            recorder.resets.withLock { $0 += 1 }
                        } onEndless: { count in
                            recorder.endlessBytes.withLock { bytes in
                                bytes += count
                                return bytes < FakeServer.mostEndlessBytes
                            }
                        }
                    )
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    var configuration: RedisClientConfiguration {
        var configuration = RedisClientConfiguration(
            url: RedisURL(endpoint: .tcp(host: "127.0.0.1", port: listener.localAddress?.port ?? 0))
        )
        configuration.commandTimeout = .seconds(20)
        return configuration
    }

    var connectionCount: Int { recorder.connections.withLock { $0 } }

    /// How many connections the client ended by a reset.
    var resetCount: Int { recorder.resets.withLock { $0 } }

    /// What was sent of replies without end, in bytes.
    var endlessBytes: Int { recorder.endlessBytes.withLock { $0 } }

    /// Where a reply without end ends all the same, by closing the connection.
    static let mostEndlessBytes = 32 << 20

    /// Every command received so far, on all connections, in order.
    var commands: [[String]] { recorder.commands.withLock { $0 } }

    func close() async throws {
        try await listener.close()
    }

    private static func courtesy(_ command: [String]) -> Reaction {
        switch command.first {
        case "ROLE": .reply("*1\r\n$6\r\nmaster\r\n")
        case "PING": .reply("+PONG\r\n")
        case "SUBSCRIBE": .reply("*3\r\n$9\r\nsubscribe\r\n$\(command[1].utf8.count)\r\n\(command[1])\r\n:1\r\n")
        default: .reply("+OK\r\n")
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private var reader = RESPReader()
        private let react: ([String]) -> Reaction
        private let onReset: () -> Void
        /// Hears how many bytes are sent of a reply without end; whether to go on.
        private let onEndless: (Int) -> Bool
        private var endless: ByteBuffer?

        init(
            _ react: @escaping ([String]) -> Reaction,
            onReset: @escaping () -> Void,
            onEndless: @escaping (Int) -> Bool
        ) {
            self.react = react
            self.onReset = onReset
            self.onEndless = onEndless
        }

        func channelWritabilityChanged(context: ChannelHandlerContext) {
            goOn(context)
        }

        private func goOn(_ context: ChannelHandlerContext) {
            guard let endless else { return }
            while context.channel.isActive, context.channel.isWritable {
                guard onEndless(endless.readableBytes) else { return context.close(promise: nil) }
                context.writeAndFlush(NIOAny(endless), promise: nil)
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            if let error = error as? IOError, error.errnoCode == ECONNRESET {
                onReset()
            }
            context.close(promise: nil)
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            unwrapInboundIn(data).withUnsafeReadableBytes { reader.feed($0) }
            while let command = try? reader.next() {
                switch react(command.array?.compactMap(\.string) ?? []) {
                case .reply(let text):
                    context.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
                case .replyAndClose(let text):
                    context.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
                    return context.close(promise: nil)
                case .replyWithoutEnd(let start, let rest):
                    context.writeAndFlush(NIOAny(ByteBuffer(string: start)), promise: nil)
                    endless = ByteBuffer(string: rest)
                    goOn(context)
                case .silence:
                    break
                }
            }
        }
    }
}

func withFakeServer(
    _ respond: @escaping FakeServer.Respond = { _, _ in nil },
    configure: (inout RedisClientConfiguration) -> Void = { _ in },
    _ body: (FakeServer, RedisClient) async throws -> Void
) async throws {
    let server = try await FakeServer(respond)
    var configuration = server.configuration
    configure(&configuration)
    try await withClient(configuration) { try await body(server, $0) }
    try await server.close()
}

import Foundation
import HiredisClient
import NIOCore
import NIOPosix
import SingleflightLease
import Synchronization

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A server on a Unix socket that does to its clients what a ``HostileConnection`` says. One session at a time.
final class HostileServer: Sendable {
    /// A session's seed, and what its connections have in common.
    private struct Session {
        var seed: UInt64
        var connections: UInt64 = 0
        var tokens: [String] = []
        var inbox: (channel: any Channel, name: String)?
    }

    let path: String
    private let listener: any Channel
    private let session: Shared

    private final class Shared: Sendable {
        let state = Mutex(Session(seed: 0))
    }

    init() async throws {
        self.path =
            FileManager.default.temporaryDirectory.path + "/singleflight-hostile-"
            + String(UInt64.random(in: .min ... .max), radix: 36)
        let session = Shared()
        self.session = session
        self.listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 64 << 10, high: 256 << 10))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(session))
                }
            }
            .bind(unixDomainSocketPath: self.path).get()
    }

    /// What comes from here on belongs to the session of this seed.
    func begin(seed: UInt64) {
        self.session.state.withLock { $0 = Session(seed: seed) }
    }

    func close() async throws {
        try await self.listener.close()
        _ = unlink(self.path)
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let session: Shared
        private var reader = RESPReader()
        private var script: HostileConnection?
        /// What is written again whenever the client has taken some.
        private var endless: ByteBuffer?

        init(_ session: Shared) {
            self.session = session
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            unwrapInboundIn(data).withUnsafeReadableBytes { self.reader.feed($0) }
            while let command = try? self.reader.next() {
                self.received(command.array?.compactMap(\.string) ?? [], context)
            }
        }

        private func received(_ command: [String], _ context: ChannelHandlerContext) {
            let tokens = self.session.state.withLock { session in
                if self.script == nil {
                    session.connections += 1
                    self.script = HostileConnection(seed: session.seed, number: session.connections)
                }
                session.tokens += command.filter { $0.utf8.count >= 32 && $0 != command[1] }.map {
                    String($0.prefix(32))
                }
                .prefix(1)
                if command.first == "SUBSCRIBE" { session.inbox = (context.channel, command[1]) }
                return session.tokens
            }
            for act in self.script?.acts(on: command, tokens: tokens) ?? [] {
                switch act {
                case .send(let bytes):
                    context.writeAndFlush(NIOAny(ByteBuffer(bytes: bytes)), promise: nil)
                case .repeatForever(let bytes):
                    self.endless = ByteBuffer(bytes: bytes)
                    self.goOn(context)
                case .close:
                    context.close(promise: nil)
                }
            }
            if let inbox = self.session.state.withLock({ $0.inbox }),
                let push = self.script?.push(to: inbox.name, tokens: tokens)
            {
                inbox.channel.writeAndFlush(ByteBuffer(bytes: push), promise: nil)
            }
        }

        func channelWritabilityChanged(context: ChannelHandlerContext) {
            self.goOn(context)
        }

        private func goOn(_ context: ChannelHandlerContext) {
            guard let endless else { return }
            while context.channel.isActive, context.channel.isWritable {
                context.writeAndFlush(NIOAny(endless), promise: nil)
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }
    }
}

import NIOCore
import NIOPosix
import Synchronization

/// A way to a server that carries a number of bytes a second, for all connections and both directions together, in the
/// order in which they come.
final class SlowLink: Sendable {
    private let bytesPerSecond: Double
    private let socketPath: String
    private let listener = Mutex<(any Channel)?>(nil)
    /// When what was taken so far has gone over.
    private let free = Mutex(NIODeadline.now())

    private init(to socketPath: String, bytesPerSecond: Int) {
        self.socketPath = socketPath
        self.bytesPerSecond = Double(bytesPerSecond)
    }

    /// A link to a server that listens on a Unix socket.
    static func with<Result>(
        to socketPath: String,
        bytesPerSecond: Int,
        isolation: isolated (any Actor)? = #isolation,
        _ body: (_ port: Int) async throws -> Result
    ) async throws -> Result {
        let link = SlowLink(to: socketPath, bytesPerSecond: bytesPerSecond)
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            // What lies in a socket's buffer has been acknowledged: on a real link it has not.
            .serverChannelOption(.socketOption(.so_rcvbuf), value: .init(Piece.bytes))
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Piece.bytes))
            .childChannelInitializer { link.connect($0) }
            .bind(host: "127.0.0.1", port: 0).get()
        do {
            let result = try await body(listener.localAddress?.port ?? 0)
            try await listener.close()
            return result
        } catch {
            try? await listener.close()
            throw error
        }
    }

    private enum Piece {
        static let bytes = 16 << 10
    }

    private func connect(_ client: any Channel) -> EventLoopFuture<Void> {
        ClientBootstrap(group: client.eventLoop)
            .channelOption(.autoRead, value: false)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Piece.bytes))
            .connect(unixDomainSocketPath: self.socketPath)
            .flatMapThrowing { server in
                try client.pipeline.syncOperations.addHandler(Carrier(self, to: server))
                try server.pipeline.syncOperations.addHandler(Carrier(self, to: client))
            }
    }

    /// When these bytes have gone over, after all that came before them.
    fileprivate func arrival(of bytes: Int) -> NIODeadline {
        self.free.withLock { free in
            free = max(free, .now()) + .nanoseconds(Int64(Double(bytes) / self.bytesPerSecond * 1_000_000_000))
            return free
        }
    }

    private final class Carrier: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let link: SlowLink
        private let other: any Channel

        init(_ link: SlowLink, to other: any Channel) {
            self.link = link
            self.other = other
        }

        func handlerAdded(context: ChannelHandlerContext) {
            if context.channel.isActive { context.read() }
        }

        func channelActive(context: ChannelHandlerContext) {
            context.read()
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = unwrapInboundIn(data)
            let (channel, other) = (context.channel, self.other)
            context.eventLoop.assumeIsolated().scheduleTask(deadline: link.arrival(of: bytes.readableBytes)) {
                // The next piece is taken when the other side has taken this one.
                other.writeAndFlush(bytes).assumeIsolated().whenComplete { _ in channel.read() }
            }
        }

        func channelInactive(context: ChannelHandlerContext) {
            other.close(promise: nil)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }
    }
}

import NIOCore
import NIOPosix
import Synchronization

/// A way to a server that carries a number of bytes a second, for all connections and both directions together, in the
/// order in which they come.
package final class SlowLink: Sendable {
    private struct Pace {
        /// `nil` for as many as come.
        var bytesPerSecond: Double?
        /// When what was taken so far has gone over.
        var free = NIODeadline.now()
    }

    private enum Piece {
        static let bytes = 16 << 10
    }

    private let socketPath: String
    private let listener = Mutex<(any Channel)?>(nil)
    private let pace: Mutex<Pace>

    /// Where clients connect to, on 127.0.0.1.
    package var port: Int { self.listener.withLock { $0?.localAddress?.port ?? 0 } }

    private init(to socketPath: String, bytesPerSecond: Int?) {
        self.socketPath = socketPath
        self.pace = Mutex(Pace(bytesPerSecond: bytesPerSecond.map(Double.init)))
    }

    /// A link to a server that listens on a Unix socket.
    ///
    /// - Parameter bytesPerSecond: `nil` for a link that carries as much as comes.
    package static func start(to socketPath: String, bytesPerSecond: Int?) async throws -> SlowLink {
        let link = SlowLink(to: socketPath, bytesPerSecond: bytesPerSecond)
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            // What lies in a socket's buffer has been acknowledged: on a real link it has not.
            .serverChannelOption(.socketOption(.so_rcvbuf), value: .init(Piece.bytes))
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Piece.bytes))
            .childChannelInitializer { link.connect($0) }
            .bind(host: "127.0.0.1", port: 0).get()
        link.listener.withLock { $0 = listener }
        return link
    }

    /// Calls `body` with the port of a link, which takes no more connections when `body` ends.
    package static func with<Result>(
        to socketPath: String,
        bytesPerSecond: Int,
        isolation: isolated (any Actor)? = #isolation,
        _ body: (_ port: Int) async throws -> Result
    ) async throws -> Result {
        let link = try await Self.start(to: socketPath, bytesPerSecond: bytesPerSecond)
        do {
            let result = try await body(link.port)
            await link.close()
            return result
        } catch {
            await link.close()
            throw error
        }
    }

    /// Changes the pace; what was taken before still goes over at the old one.
    ///
    /// - Parameter bytesPerSecond: `nil` for as much as comes.
    package func carry(bytesPerSecond: Int?) {
        self.pace.withLock { $0.bytesPerSecond = bytesPerSecond.map(Double.init) }
    }

    /// Takes no more connections; those that there are end with either side. Idempotent.
    package func close() async {
        let listener = self.listener.withLock { $0.take() }
        // Fails only if the listener is closed already.
        try? await listener?.close().get()
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
        self.pace.withLock { pace in
            let nanoseconds = pace.bytesPerSecond.map { Double(bytes) / $0 * 1_000_000_000 } ?? 0
            pace.free = max(pace.free, .now()) + .nanoseconds(Int64(nanoseconds))
            return pace.free
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

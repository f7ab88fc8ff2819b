import NIOCore
import NIOPosix

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Lines in, lines out, over a socket or a pair of pipe ends. What arrives is read at once, whether anybody looks or
/// not, so that the process at the other end never blocks on a full buffer.
package struct LineChannel: Sendable {
    /// The lines that arrive; ends when the other side closes.
    package let lines: AsyncStream<String>

    private let channel: any Channel

    /// Takes over a connected socket and closes it in the end.
    package init(socket: CInt) async throws {
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        self.lines = lines
        channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .channelInitializer { Self.prepare($0, continuation) }
            .withConnectedSocket(socket)
            .get()
    }

    /// This process's standard input and output.
    ///
    /// - Throws: ``CommandFailure`` if they are no pipes or sockets: epoll refuses files and `/dev/null`, and NIO takes
    ///   that for impossible.
    package static func standardStreams() async throws -> LineChannel {
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        let channel = try await NIOPipeBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .channelInitializer { prepare($0, continuation) }
            .takingOwnershipOfDescriptors(input: duplicate(STDIN_FILENO), output: duplicate(STDOUT_FILENO))
            .get()
        return LineChannel(lines: lines, channel: channel)
    }

    private init(lines: AsyncStream<String>, channel: any Channel) {
        self.lines = lines
        self.channel = channel
    }

    private static func prepare(
        _ channel: any Channel,
        _ lines: AsyncStream<String>.Continuation
    ) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(ByteToMessageHandler(LineDecoder(), maximumBufferSize: 16 << 20))
            try pipeline.addHandler(LineInbox(lines))
        }
    }

    /// Called once when the other side is gone.
    package func onClose(_ handler: @escaping @Sendable () -> Void) {
        channel.closeFuture.whenComplete { _ in handler() }
    }

    /// Sends `line`, from any thread, in the order of the calls; to a side that is gone it is sent in vain.
    package func send(_ line: String) {
        channel.writeAndFlush(channel.allocator.buffer(string: line + "\n"), promise: nil)
    }

    /// The other side sees the end of its input; what it still says is read.
    package func closeOutput() { channel.close(mode: .output, promise: nil) }

    private static func duplicate(_ descriptor: CInt) throws -> CInt {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
        var status = stat()
        guard copy >= 0, fstat(copy, &status) == 0, [S_IFIFO, S_IFSOCK].contains(status.st_mode & S_IFMT) else {
            throw CommandFailure("standard input and output must be pipes; `singleflight demo` starts this by itself")
        }
        return copy
    }
}

/// Hands lines from the event loop to the reader of the stream.
private final class LineInbox: ChannelInboundHandler {
    typealias InboundIn = String

    private let continuation: AsyncStream<String>.Continuation

    init(_ continuation: AsyncStream<String>.Continuation) { self.continuation = continuation }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { continuation.yield(unwrapInboundIn(data)) }

    func channelInactive(context: ChannelHandlerContext) { continuation.finish() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func handlerRemoved(context: ChannelHandlerContext) { continuation.finish() }
}

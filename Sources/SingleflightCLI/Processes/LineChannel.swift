import NIOCore
import NIOPosix

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Lines in, lines out, over a pair of pipe ends. What arrives is read at once, whether anybody looks or not, so that
/// the process at the other end never blocks on a full pipe.
package struct LineChannel: Sendable {
    /// The lines that arrive; ends when the other side closes.
    package let lines: AsyncStream<String>

    private let channel: any Channel

    /// Takes over both descriptors and closes them in the end.
    package init(input: CInt, output: CInt) async throws {
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        self.lines = lines
        channel = try await NIOPipeBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ByteToMessageHandler(LineDecoder(), maximumBufferSize: 16 << 20)
                    )
                    try channel.pipeline.syncOperations.addHandler(LineInbox(continuation))
                }
            }
            .takingOwnershipOfDescriptors(input: input, output: output)
            .get()
    }

    /// This process's standard input and output.
    package static func standardStreams() async throws -> LineChannel {
        try await LineChannel(input: duplicate(STDIN_FILENO), output: duplicate(STDOUT_FILENO))
    }

    /// Called once when the other side is gone.
    package func onClose(_ handler: @escaping @Sendable () -> Void) {
        channel.closeFuture.whenComplete { _ in handler() }
    }

    /// Sends `line`, from any thread, in the order of the calls; to a side that is gone it is sent in vain.
    package func send(_ line: String) {
        channel.writeAndFlush(channel.allocator.buffer(string: line + "\n"), promise: nil)
    }

    /// Waits until `line` is in the pipe.
    package func sendAndFlush(_ line: String) async throws {
        try await channel.writeAndFlush(channel.allocator.buffer(string: line + "\n")).get()
    }

    /// The other side sees the end of its input; what it still says is read.
    package func closeOutput() { channel.close(mode: .output, promise: nil) }

    private static func duplicate(_ descriptor: CInt) throws -> CInt {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
        guard copy >= 0 else { throw CommandFailure("standard input and output are needed") }
        return copy
    }
}

/// Hands lines from the event loop to whoever reads the stream.
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

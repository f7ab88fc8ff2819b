import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// What a connection tells its owner, on the event loop.
protocol RedisConnectionDelegate: AnyObject {
    func connectionBecameReady(_ connection: RedisConnection)
    /// The channel takes bytes again.
    func connectionBecameWritable(_ connection: RedisConnection)
    func connection(_ connection: RedisConnection, received message: [UInt8])
    func connection(_ connection: RedisConnection, heard push: ShardPush)
    /// Last event of all. What was in flight is answered after it.
    func connection(_ connection: RedisConnection, closed reason: RedisClientError)
}

extension RedisConnectionDelegate {
    func connection(_ connection: RedisConnection, heard push: ShardPush) {}
}

/// One open connection: puts a `ConnectionMachine`'s decisions into effect on a channel.
///
/// Lives on the channel's event loop and is used from nowhere else. The one timer covers all deadlines.
final class RedisConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let channel: any Channel
    private var machine: ConnectionMachine<RedisClient.Kept>
    private var reader: RESPReader
    private weak var delegate: (any RedisConnectionDelegate)?
    private var timer: Scheduled<Void>?
    private var timerDeadline = NIODeadline.distantFuture
    private let silence: TimeAmount
    /// The first byte of all that were heard.
    private var firstByte: UInt8?
    /// What may be the matter if the connection ends before anything was heard.
    private let hintOnSilence: String
    /// What was still to be taken by the other side when that was last looked at.
    private var untaken = 0

    init(
        channel: any Channel,
        machine: ConnectionMachine<RedisClient.Kept>,
        limits: RESPLimits,
        silence: TimeAmount,
        hintOnSilence: String = "",
        delegate: any RedisConnectionDelegate
    ) {
        self.channel = channel
        self.hintOnSilence = hintOnSilence
        self.machine = machine
        reader = RESPReader(limits: limits)
        self.silence = silence
        self.delegate = delegate
    }

    private var eventLoop: any EventLoop { channel.eventLoop }

    var canWrite: Bool {
        machine.acceptsCommands && channel.isWritable
    }

    /// Since when nothing had been heard when the connection was closed, while something was to be answered; the
    /// distant future if nothing was.
    private(set) var silentSince = NIODeadline.distantFuture

    /// Completes when the channel is closed; never fails.
    var closed: EventLoopFuture<Void> { channel.closeFuture }

    /// Writes a batch; every submission in it is answered exactly once from here on. Only while ``canWrite``.
    func write(_ bytes: ByteBuffer, _ submissions: [Submission<RedisClient.Kept>], earliest: NIODeadline) {
        let now = eventLoop.now
        machine.submit(submissions, now: now)
        channel.writeAndFlush(bytes, promise: nil)
        if bytes.readableBytes > Self.longWrite {
            untaken = max(untaken, bytes.readableBytes)
        }
        let wake = min(earliest, now + silence)
        if wake < timerDeadline {
            arm(wake)
        }
    }

    /// See ``ConnectionMachine/hold(_:sequence:in:)``.
    func hold(_ completion: @escaping RedisClient.Completion, sequence: UInt64, in order: RedisOrder) -> Bool {
        machine.hold(RedisClient.Kept(completion), sequence: sequence, in: order)
    }

    /// What is shorter is taken at once, or not at all.
    private static let longWrite = 64 << 10

    /// A long write is on its way for as long as less and less of it is left: here, and in the kernel, unacknowledged.
    private func lookAtUntaken() {
        guard untaken > Self.longWrite else { return }
        let buffered = (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        let left = buffered + channel.unacknowledgedBytes
        if left < untaken { machine.taken(now: eventLoop.now) }
        untaken = left
    }

    /// Closes for good; idempotent.
    func close(_ reason: RedisClientError) {
        guard !machine.isClosed else { return }
        silentSince = machine.silentSince
        let abandoned = machine.close(reason, now: eventLoop.now)
        timer?.cancel()
        timer = nil
        if reason.code == .timedOut {
            discardUnsentBytes()
        }
        channel.close(mode: .all, promise: nil)
        // The owner first: a command that a completion submits must find no connection rather than this one.
        delegate?.connection(self, closed: reason)
        for (submission, error) in abandoned {
            submission.answer(.failure(error))
        }
    }

    /// What the kernel still has to send must not arrive after all, behind the next connection's commands: TCP repeats
    /// it for a while even when the socket is closed, unless it is closed by a reset.
    private func discardUnsentBytes() {
        _ = (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        guard context.channel.isActive else {
            return close(RedisClientError(.connectionFailed, "the server closed the connection"))
        }
        var bytes = context.channel.allocator.buffer(capacity: 256)
        machine.handshake.encode(into: &bytes)
        context.writeAndFlush(NIOAny(bytes), promise: nil)
        rearm()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        machine.heard(now: eventLoop.now)
        let bytes = unwrapInboundIn(data)
        if firstByte == nil { firstByte = bytes.getInteger(at: bytes.readerIndex) }
        bytes.withUnsafeReadableBytes { reader.feed($0) }
        do throws(RESPViolation) {
            while !machine.isClosed, let reply = try reader.next() {
                act(on: machine.received(reply))
            }
        } catch {
            close(
                firstByte == Self.alertOfTLS
                    ? RedisClientError(.connectionFailed, "the server speaks TLS on this port: use rediss://")
                    : RedisClientError(.protocolViolation, "the server's answer cannot be read", underlying: error)
            )
        }
    }

    /// How TLS begins to say that something is wrong; no answer of a Redis begins so.
    private static let alertOfTLS: UInt8 = 0x15

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if canWrite {
            delegate?.connectionBecameWritable(self)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        close(RedisClientError(.connectionFailed, "the server closed the connection" + hint))
    }

    private var hint: String { firstByte == nil ? hintOnSilence : "" }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let message = RedisTLS.explanation(of: error) ?? "the connection failed" + hint
        close(RedisClientError(.connectionFailed, message, underlying: error))
    }

    // MARK: Actions

    private func act(on action: ConnectionMachine<RedisClient.Kept>.ReplyAction) {
        switch action {
        case .none:
            break
        case .becameReady:
            rearm()
            delegate?.connectionBecameReady(self)
        case .answer(let submission, let result):
            submission.answer(result)
        case .answerAndClose(let submission, let result, let reason):
            submission.answer(result)
            close(reason)
        case .deliver(let message):
            delegate?.connection(self, received: message)
        case .deliverPush(let push):
            delegate?.connection(self, heard: push)
        case .close(let reason):
            close(reason)
        }
    }

    private func timerFired() {
        timer = nil
        timerDeadline = .distantFuture
        lookAtUntaken()
        switch machine.timerFired(now: eventLoop.now) {
        case .none:
            rearm()
        case .answerLate(let submissions):
            rearm()
            for submission in submissions { submission.answer(.failure(.late)) }
        case .sendPing:
            var bytes = channel.allocator.buffer(capacity: 16)
            RedisCommand("PING").encode(into: &bytes)
            channel.writeAndFlush(bytes, promise: nil)
            rearm()
        case .close(let reason):
            close(reason)
        }
    }

    private func rearm() {
        if let wake = machine.nextWake(now: eventLoop.now) {
            arm(wake)
        }
    }

    private func arm(_ deadline: NIODeadline) {
        timer?.cancel()
        timerDeadline = deadline
        timer = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [weak self] in
            self?.timerFired()
        }
    }
}

extension Channel {
    /// What the kernel has taken to send and the other side has not acknowledged; 0 where that cannot be asked.
    fileprivate var unacknowledgedBytes: Int {
        #if os(Linux)
            var count: CInt = 0
            _ = try? pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { socket in
                _ = ioctl(socket, UInt(TIOCOUTQ), &count)
            }
            return Int(count)
        #else
            return 0
        #endif
    }
}

import NIOCore

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A client's connection and the proxy's to the server, with what is wrong between them. Lives on one event loop.
final class Link {
    /// What is done instead of passing a reply on.
    private enum ReplyFault {
        case close, reset, truncate
        case late(Duration)
        case hold
    }

    let client: any Channel
    let server: any Channel
    /// Known as soon as something was read: a client sends all that opens a connection at once, SUBSCRIBE included.
    private(set) var kind: FaultProxy.Connection?
    private let toServer: Lane
    private let toClient: Lane
    private var commands = RESPFrameCutter()
    private var replies = RESPFrameCutter()
    /// How many commands passed, and how many of their replies are still to come.
    private var unanswered = 0
    /// What becomes of a reply, and how many others come before it.
    private var replyFault: (fault: ReplyFault, after: Int)?
    private(set) var losesAnnouncements = false
    private var isClosed = false
    private var isClientGone = false
    /// What is to be done once the server has answered all that reached it.
    private var onAnswered: [() -> Void] = []
    private unowned let proxy: FaultProxy.Core

    init(client: any Channel, server: any Channel, proxy: FaultProxy.Core) {
        self.client = client
        self.server = server
        self.toServer = Lane(server)
        self.toClient = Lane(client)
        self.proxy = proxy
    }

    // MARK: - Frames

    func received(fromClient buffer: ByteBuffer) {
        self.commands.append(buffer.readableBytesView)
        var frames: [RESPFrame] = []
        while let frame = self.commands.next() {
            frames.append(frame)
        }
        if self.kind == nil {
            self.kind = frames.contains { $0.words.first == "SUBSCRIBE" } ? .inbox : .command
            self.proxy.opened(self)
        }
        for frame in frames {
            self.proxy.sees(command: frame, on: self)
            guard !self.isClosed else { return }
            self.unanswered += 1
            self.toServer.send(self.proxy.translated(frame))
        }
    }

    func received(fromServer buffer: ByteBuffer) {
        self.replies.append(buffer.readableBytesView)
        while !self.isClosed, let frame = self.replies.next() {
            if frame.words.first == "message" {
                guard !frame.isOfSentinel else {
                    self.toClient.send(frame.bytes)
                    continue
                }
                self.proxy.sees(announcement: frame, on: self)
                guard !self.isClosed, !self.losesAnnouncements, !self.proxy.loses(announcementOn: self) else {
                    continue
                }
            } else {
                self.unanswered -= 1
            }
            self.reply(frame)
        }
        if self.unanswered == 0 { self.answered() }
    }

    private func answered() {
        let actions = self.onAnswered
        self.onAnswered = []
        for action in actions { action() }
    }

    private func reply(_ frame: RESPFrame) {
        guard let (fault, after) = self.replyFault else { return self.toClient.send(frame.bytes) }
        guard after == 0 else {
            self.replyFault = (fault, after - 1)
            return self.toClient.send(frame.bytes)
        }
        self.replyFault = nil
        switch fault {
        case .close:
            self.close()
        case .reset:
            self.reset()
        case .truncate:
            self.toClient.send(Array(frame.bytes[..<(frame.bytes.count / 2)]))
            self.close()
        case .late(let delay):
            self.toClient.set(.late(delay, isRandom: false))
            self.toClient.send(frame.bytes)
            // What follows waits for it, being behind it, but is not late itself.
            self.toClient.set(.immediate)
        case .hold:
            self.toClient.set(.held)
            self.toClient.send(frame.bytes)
            self.proxy.hasStruck()
        }
    }

    // MARK: - Faults

    /// Lets a fault strike: at the frame that is just being looked at, or at the next.
    func suffer(_ fault: Fault, _ times: FaultTimes, isAnnouncement: Bool = false) {
        // The reply to this frame comes after those to the commands before it; an announcement is the frame itself.
        let after = isAnnouncement ? 0 : self.unanswered
        switch fault {
        case .cutBeforeRequest: self.close()
        case .resetBeforeRequest: self.reset()
        case .cutBeforeReply: self.replyFault = (.close, after)
        case .resetBeforeReply: self.replyFault = (.reset, after)
        case .truncatedReply: self.replyFault = (.truncate, after)
        case .latency: self.replyFault = (.late(times.latency), after)
        case .lateReply: self.replyFault = (.late(times.lateness), after)
        case .holdReply: self.replyFault = (.hold, after)
        case .holdRequest: self.toServer.set(.held)
        case .jitter:
            self.toServer.set(.late(times.jitter, isRandom: true))
            self.toClient.set(.late(times.jitter, isRandom: true))
        case .slices:
            self.toServer.set(.slices)
            self.toClient.set(.slices)
        case .blackHoleToServer: self.toServer.set(.lost)
        case .blackHoleToClient: self.toClient.set(.lost)
        case .halfCloseToClient: self.client.close(mode: .output, promise: nil)
        case .halfCloseToServer: self.server.close(mode: .output, promise: nil)
        case .refuse: self.reset()
        case .loseAnnouncements: self.losesAnnouncements = true
        }
    }

    /// Passes on what was held. The rest passes at once.
    ///
    /// - Parameter onAnswered: called when the server has answered all of it, or the connection is gone.
    func letGo(onAnswered: @escaping () -> Void) {
        self.onAnswered.append(onAnswered)
        if self.isClientGone { self.onAnswered.append { self.close() } }
        for lane in [self.toServer, self.toClient] {
            if case .held = lane.pace { lane.set(.immediate) }
        }
        if self.unanswered == 0 { self.answered() }
    }

    /// The client is gone. What it sent and is held still is on its way, as in a network.
    func clientEnded() {
        self.isClientGone = true
        if case .held = self.toServer.pace { return }
        self.close()
    }

    func close() {
        guard !self.isClosed else { return }
        self.isClosed = true
        self.client.close(mode: .all, promise: nil)
        self.server.close(mode: .all, promise: nil)
        self.proxy.closed(self)
        self.answered()
    }

    /// Closes so that both sides see a reset instead of an end.
    private func reset() {
        for case let socket as any SocketOptionProvider in [self.client, self.server] {
            socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in }
        }
        self.close()
    }
}

import NIOCore
import NIOPosix

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Stands between one client process and a Redis server, knows commands, replies and announcements, and does harm at
/// exactly the frame that it is told.
///
/// A fault strikes once, at the first frame of its name; after that, and for connections made after an outage, all is
/// well.
package final class FaultProxy: Sendable {
    /// Where the server is.
    package enum Target: Sendable {
        case unixSocket(String)
        case loopback(port: Int)
    }

    /// The two connections of a client.
    package enum Connection: String, Sendable, CaseIterable {
        case command, inbox
    }

    /// Where clients connect to.
    package var url: String { "redis://127.0.0.1:\(self.reservation.port)" }

    private let reservation: PortReservation
    private let eventLoop: any EventLoop
    /// Used on the event loop only.
    private let core: NIOLoopBound<Core>
    private let strike: EventLoopPromise<ContinuousClock.Instant?>

    /// Starts to listen on a port that nobody uses.
    ///
    /// - Parameters:
    ///   - name: what a command is called; announcements are called `announcement`.
    ///   - translate: the words of the command that the server is sent instead; `nil` for what was sent.
    package init(
        to target: Target,
        times: FaultTimes,
        name: @escaping @Sendable (RESPFrame) -> String,
        translate: @escaping @Sendable (RESPFrame) -> [String]? = { _ in nil }
    ) async throws {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let reservation = try PortReservation()
        let strike = eventLoop.makePromise(of: ContinuousClock.Instant?.self)
        self.reservation = reservation
        self.eventLoop = eventLoop
        self.strike = strike
        self.core = try await eventLoop.submit {
            NIOLoopBound(
                Core(
                    target: target,
                    times: times,
                    port: reservation.port,
                    name: name,
                    translate: translate,
                    eventLoop: eventLoop,
                    strike: strike
                ),
                eventLoop: eventLoop
            )
        }.get()
        try await eventLoop.flatSubmit { [core] in core.value.listen() }.get()
    }

    /// From the next frame called `point` on, `fault` strikes the client's `connection`, whichever of the two the frame
    /// is on.
    package func arm(_ fault: Fault, at point: String, on connection: Connection) async throws {
        try await self.onLoop { $0.plan = .init(fault: fault, point: point, connection: connection) }
    }

    /// From now on this share of the announcements is lost on the way to the client.
    package func lose(announcements share: Double) async throws {
        try await self.onLoop { $0.lostShare = share }
    }

    /// Cuts what there is of the client's `connection`; it can be made anew.
    package func cut(_ connection: Connection) async throws {
        try await self.onLoop { core in
            for link in core.links where link.kind == connection { link.close() }
        }
    }

    /// What was announced to the client, in order, as far as the server has sent it; what is lost on the way included.
    package var announcements: [String] {
        get async throws { try await self.eventLoop.submit { [core] in core.value.announcements }.get() }
    }

    /// When the fault struck; `nil` if it did not before `limit` had passed, or the proxy was closed. A reply is held
    /// only once it has come: its request is carried out then.
    package func struck(within limit: Duration) async throws -> ContinuousClock.Instant? {
        let result = self.eventLoop.makePromise(of: ContinuousClock.Instant?.self)
        let timer = self.eventLoop.scheduleTask(in: TimeAmount(limit)) { result.succeed(nil) }
        self.strike.futureResult.whenSuccess {
            timer.cancel()
            result.succeed($0)
        }
        return try await result.futureResult.get()
    }

    /// When the fault struck, if it has.
    package var struckAt: ContinuousClock.Instant? {
        get async throws { try await self.eventLoop.submit { [core] in core.value.struckAt }.get() }
    }

    /// Passes on what is held, and returns when the server has carried it out.
    package func letGo() async throws {
        try await self.eventLoop.flatSubmit { [core, eventLoop] in
            let answers = core.value.links.map { link in
                let answered = eventLoop.makePromise(of: Void.self)
                link.letGo { answered.succeed() }
                return answered.futureResult
            }
            return .andAllSucceed(answers, on: eventLoop)
        }.get()
    }

    /// Closes everything.
    package func close() async {
        // Fails only if the event loop itself is gone, and everything with it.
        try? await self.eventLoop.flatSubmit { [core] in core.value.close() }.get()
    }

    private func onLoop(_ body: @escaping @Sendable (Core) -> Void) async throws {
        try await self.eventLoop.submit { [core] in body(core.value) }.get()
    }
}

extension FaultProxy {
    /// What a proxy knows and does, on its event loop.
    final class Core {
        struct Plan {
            var fault: Fault
            var point: String
            var connection: Connection
        }

        private(set) var links: [Link] = []
        var plan: Plan?
        var lostShare = 0.0
        private(set) var struckAt: ContinuousClock.Instant?
        private(set) var announcements: [String] = []
        /// What new connections of a kind suffer from, too.
        private var standing: (fault: Fault, connection: Connection)?
        private var listener: (any Channel)?
        private var isClosed = false
        private let target: Target
        private let times: FaultTimes
        private let port: Int
        private let name: @Sendable (RESPFrame) -> String
        private let translate: @Sendable (RESPFrame) -> [String]?
        private let eventLoop: any EventLoop
        private let strike: EventLoopPromise<ContinuousClock.Instant?>

        init(
            target: Target,
            times: FaultTimes,
            port: Int,
            name: @escaping @Sendable (RESPFrame) -> String,
            translate: @escaping @Sendable (RESPFrame) -> [String]?,
            eventLoop: any EventLoop,
            strike: EventLoopPromise<ContinuousClock.Instant?>
        ) {
            self.target = target
            self.times = times
            self.port = port
            self.name = name
            self.translate = translate
            self.eventLoop = eventLoop
            self.strike = strike
        }

        // MARK: - Connections

        func listen() -> EventLoopFuture<Void> {
            let core = NIOLoopBound(self, eventLoop: self.eventLoop)
            // The reservation holds the port meanwhile; whatever connects before is refused.
            return ServerBootstrap(group: self.eventLoop)
                .serverChannelOption(.socketOption(.init(rawValue: SO_REUSEPORT)), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelOption(.autoRead, value: false)
                .childChannelInitializer { client in
                    core.value.connect(client)
                    return client.eventLoop.makeSucceededVoidFuture()
                }
                .bind(host: "127.0.0.1", port: self.port)
                .assumeIsolated()
                .map { channel in
                    if core.value.isClosed {
                        channel.close(promise: nil)
                    } else {
                        core.value.listener = channel
                    }
                }
                .nonisolated()
        }

        private func connect(_ client: any Channel) {
            let bootstrap = ClientBootstrap(group: self.eventLoop)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelOption(.autoRead, value: false)
            let connecting =
                switch self.target {
                case .unixSocket(let path):
                    ClientBootstrap(group: self.eventLoop)
                        .channelOption(.autoRead, value: false)
                        .connect(unixDomainSocketPath: path)
                case .loopback(let port): bootstrap.connect(host: "127.0.0.1", port: port)
                }
            connecting.assumeIsolated().whenComplete { result in
                guard case .success(let server) = result, !self.isClosed else {
                    return client.close(promise: nil)
                }
                self.add(Link(client: client, server: server, proxy: self))
            }
        }

        private func add(_ link: Link) {
            self.links.append(link)
            do {
                let fromClient = LinkHandler(receive: link.received(fromClient:), end: link.clientEnded)
                let fromServer = LinkHandler(receive: link.received(fromServer:), end: link.close)
                try link.client.pipeline.syncOperations.addHandler(fromClient)
                try link.server.pipeline.syncOperations.addHandler(fromServer)
            } catch {
                return link.close()
            }
            link.client.setOption(.autoRead, value: true).whenFailure { _ in }
            link.server.setOption(.autoRead, value: true).whenFailure { _ in }
        }

        func closed(_ link: Link) {
            self.links.removeAll { $0 === link }
        }

        func close() -> EventLoopFuture<Void> {
            self.isClosed = true
            self.strike.succeed(nil)
            for link in self.links { link.close() }
            guard let listener = self.listener.take() else { return self.eventLoop.makeSucceededVoidFuture() }
            listener.close(promise: nil)
            return listener.closeFuture
        }

        // MARK: - Frames

        /// The first frames of a connection have come: now it is known which of the two it is.
        func opened(_ link: Link) {
            if let standing, standing.connection == link.kind {
                link.suffer(standing.fault, self.times)
            }
        }

        func sees(command frame: RESPFrame, on link: Link) {
            guard let plan, self.name(frame) == plan.point else { return }
            self.strike(plan, at: link, isAnnouncement: false)
        }

        /// What the server is sent.
        func translated(_ command: RESPFrame) -> [UInt8] {
            self.translate(command).map { RESPFrame(words: $0).bytes } ?? command.bytes
        }

        func sees(announcement frame: RESPFrame, on link: Link) {
            self.announcements.append(frame.words.last ?? "")
            guard let plan, plan.point == "announcement" else { return }
            self.strike(plan, at: link, isAnnouncement: true)
        }

        func loses(announcementOn link: Link) -> Bool {
            self.lostShare > 0 && Double.random(in: 0..<1) < self.lostShare
        }

        private func strike(_ plan: Plan, at link: Link, isAnnouncement: Bool) {
            self.plan = nil
            if plan.fault == .refuse {
                self.refuse()
            }
            if plan.fault.isStanding {
                self.standing = (plan.fault, plan.connection)
            }
            if !plan.fault.outage(self.times).isZero, plan.fault.isStanding {
                let end = self.eventLoop.now + TimeAmount(plan.fault.outage(self.times))
                self.eventLoop.assumeIsolated().scheduleTask(deadline: end) { self.standing = nil }
            }
            if link.kind == plan.connection {
                link.suffer(plan.fault, self.times, isAnnouncement: isAnnouncement)
            } else {
                for other in self.links where other.kind == plan.connection {
                    other.suffer(plan.fault, self.times)
                }
            }
            if plan.fault != .holdReply { self.hasStruck() }
        }

        /// A fault has done its harm, or begun to: a held reply is there.
        func hasStruck() {
            let now = ContinuousClock.now
            self.struckAt = now
            self.strike.succeed(now)
        }

        /// Nobody listens for the time of an outage: the kernel itself refuses.
        private func refuse() {
            self.listener?.close(promise: nil)
            self.listener = nil
            self.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(self.times.outage)) {
                guard !self.isClosed else { return }
                self.listen().whenFailure { _ in }
            }
        }
    }
}

extension Fault {
    /// Whether connections that are made later suffer from it, too.
    fileprivate var isStanding: Bool {
        switch self {
        case .jitter, .slices, .blackHoleToServer, .blackHoleToClient, .loseAnnouncements: true
        default: false
        }
    }
}

extension Duration {
    fileprivate var isZero: Bool { self == .zero }
}

/// Hands what a channel reads to its link, and the channel's end.
private final class LinkHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let receive: (ByteBuffer) -> Void
    private let end: () -> Void

    init(receive: @escaping (ByteBuffer) -> Void, end: @escaping () -> Void) {
        self.receive = receive
        self.end = end
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.receive(self.unwrapInboundIn(data))
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.end()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.end()
    }
}

import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Opens channels to a server. Resolves the name anew every time.
struct RedisConnector {
    let place: RedisPlace
    /// How long name resolution and connecting may take together.
    let timeout: TimeAmount
    let eventLoop: any EventLoop

    func connect() -> EventLoopFuture<any Channel> {
        guard let tls = place.tls, case .tcp(let host, _) = place.address else {
            return open(bootstrap)
        }
        return NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) { try tls.makeContext() }.flatMap { context in
            open(
                bootstrap.channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try Self.keepFromChildren(channel)
                        try RedisTLS.encrypt(channel, with: context, host: tls.serverName ?? host)
                    }
                }
            )
        }
    }

    private var bootstrap: ClientBootstrap {
        ClientBootstrap(group: eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try Self.keepFromChildren(channel) }
            }
            .connectTimeout(timeout)
            // Large reads for large replies, small ones as long as small ones do.
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 4 << 10, initial: 16 << 10, maximum: 64 << 10)
            )
            .channelOption(.writeBufferWaterMark, value: .init(low: 256 << 10, high: 1 << 20))
    }

    /// SwiftNIO leaves sockets open in children: one that outlives this process would keep its connections to Redis
    /// open.
    private static func keepFromChildren(_ channel: any Channel) throws {
        try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { descriptor in
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        }
    }

    private func open(_ bootstrap: ClientBootstrap) -> EventLoopFuture<any Channel> {
        switch place.address {
        case .tcp(let host, let port):
            return withTCPOptions(bootstrap).connect(host: host, port: port)
        case .unixSocket(let path):
            return bootstrap.connect(unixDomainSocketPath: path)
        }
    }

    /// A peer that vanished without a word is found out within half a minute, even by the kernel alone.
    private func withTCPOptions(_ bootstrap: ClientBootstrap) -> ClientBootstrap {
        let common =
            bootstrap
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.init(rawValue: CInt(TCP_KEEPINTVL))), value: 5)
            .channelOption(.tcpOption(.init(rawValue: CInt(TCP_KEEPCNT))), value: 3)
        #if os(Linux)
            return
                common
                .channelOption(.tcpOption(.init(rawValue: CInt(TCP_KEEPIDLE))), value: 15)
                // In milliseconds. Unlike keepalive, it also covers bytes that were sent and never acknowledged.
                .channelOption(.tcpOption(.init(rawValue: CInt(TCP_USER_TIMEOUT))), value: 10_000)
        #else
            return common.channelOption(.tcpOption(.init(rawValue: CInt(TCP_KEEPALIVE))), value: 15)
        #endif
    }
}

extension RedisClientError {
    /// Why no connection came about, in words for the person who runs the program.
    static func connecting(to place: RedisPlace, failedWith error: any Error) -> RedisClientError {
        let cause: String
        switch error {
        case let error as NIOConnectionError where error.connectionErrors.isEmpty:
            cause = "the name cannot be resolved"
        case let error as NIOConnectionError:
            cause = error.connectionErrors.lazy.map { description(of: $0.error) }.first ?? "\(error)"
        default:
            cause = RedisTLS.explanation(of: error) ?? description(of: error)
        }
        return RedisClientError(.connectionFailed, "cannot connect to \(place): \(cause)", underlying: error)
    }

    private static func description(of error: any Error) -> String {
        switch error {
        case let error as IOError:
            String(cString: strerror(error.errnoCode))
        case ChannelError.connectTimeout:
            "no answer in time"
        default:
            "\(error)"
        }
    }
}

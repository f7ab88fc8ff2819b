import NIOCore
import NIOPosix

#if TLS
    import NIOSSL
#endif

extension RedisClientConfiguration {
    /// When the certificate that the server shows ends, since 1970; `nil` where there is no TLS, or no connection.
    ///
    /// It takes a connection of its own, on which nothing is sent. For the configuration of a client that is not shut
    /// down yet: its finder says where the server is.
    package func certificateEnd() async -> Duration? {
        #if TLS
            guard target.tls != nil else { return nil }
            let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
            guard let place = try? await finder?.find(on: eventLoop).get() else { return nil }
            let connector = RedisConnector(place: place, timeout: TimeAmount(connectTimeout), eventLoop: eventLoop)
            guard let channel = try? await connector.connect().get() else { return nil }
            let end = eventLoop.makePromise(of: Duration?.self)
            do {
                try await eventLoop.submit {
                    try channel.pipeline.syncOperations.addHandler(CertificateReader(end))
                }.get()
            } catch {
                end.succeed(nil)
            }
            let limit = eventLoop.scheduleTask(in: TimeAmount(handshakeTimeout)) { end.succeed(nil) }
            let found = try? await end.futureResult.get()
            limit.cancel()
            try? await channel.close()
            return found ?? nil
        #else
            return nil
        #endif
    }
}

#if TLS
    /// Reads the peer's certificate when the handshake is done.
    private final class CertificateReader: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let end: EventLoopPromise<Duration?>

        init(_ end: EventLoopPromise<Duration?>) { self.end = end }

        func handlerAdded(context: ChannelHandlerContext) { read(context) }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            // That of the end of the handshake is among them.
            read(context)
            context.fireUserInboundEventTriggered(event)
        }

        func channelInactive(context: ChannelHandlerContext) {
            end.succeed(nil)
            context.fireChannelInactive()
        }

        private func read(_ context: ChannelHandlerContext) {
            guard let handler = try? context.pipeline.syncOperations.handler(type: NIOSSLClientHandler.self),
                let certificate = handler.peerCertificate
            else { return }
            end.succeed(.seconds(Int64(certificate.notValidAfter)))
        }
    }
#endif

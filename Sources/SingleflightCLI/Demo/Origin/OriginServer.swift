import NIOCore
import NIOPosix

/// The expensive thing behind the demo: a TCP server that counts how often it is asked.
///
/// A line is a request and is answered by a line: `GET key` by `OK key hit` or `FAIL key hit`, after the latency;
/// `HOLD`, `RELEASE`, `FAIL` and `MEND`, each with a prefix of keys, by `OK`; `HELD prefix` by `OK` as soon as a GET is
/// held; `STATS prefix` by a JSON object of hits by key.
package final class OriginServer: Sendable {
    private let channel: any Channel

    package var port: Int { channel.localAddress?.port ?? 0 }

    /// Listens, on a free port of 127.0.0.1 unless told otherwise; every answer to a GET takes `latency`.
    package init(latency: Duration, host: String = "127.0.0.1", port: Int = 0) async throws {
        // One loop for all connections: the desk is touched nowhere else.
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let desk = NIOLoopBoundBox.makeBoxSendingValue(OriginDesk(latency: TimeAmount(latency)), eventLoop: loop)
        channel = try await ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: 1_024)
            .childChannelInitializer { connection in
                connection.eventLoop.makeCompletedFuture {
                    let pipeline = connection.pipeline.syncOperations
                    try pipeline.addHandler(ByteToMessageHandler(LineDecoder(), maximumBufferSize: 64 << 10))
                    try pipeline.addHandler(OriginConnection(desk))
                }
            }
            .bind(host: host, port: port)
            .get()
    }

    package func close() async throws { try await channel.close() }
}

/// The state and the requests that are held, on the server's loop.
private struct OriginDesk {
    struct Held {
        let key: String
        let hit: Int
        let channel: any Channel
    }

    /// Somebody who wants to know when a GET is held.
    struct Watcher {
        let prefix: String
        let channel: any Channel
    }

    let latency: TimeAmount
    var state = OriginState()
    var held: [Held] = []
    var watchers: [Watcher] = []
}

private final class OriginConnection: ChannelInboundHandler {
    typealias InboundIn = String

    private let desk: NIOLoopBoundBox<OriginDesk>

    init(_ desk: NIOLoopBoundBox<OriginDesk>) { self.desk = desk }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let words = unwrapInboundIn(data).split(separator: " ", maxSplits: 1).map(String.init)
        let (verb, argument) = (words.first ?? "", words.count > 1 ? words[1] : "")
        switch verb {
        case "GET": get(argument, context.channel)
        case "HOLD": change(context.channel) { $0.hold(argument) }
        case "FAIL": change(context.channel) { $0.fail(argument) }
        case "MEND": change(context.channel) { $0.mend(argument) }
        case "RELEASE": release(argument, context.channel)
        case "HELD": watch(argument, context.channel)
        case "STATS": reply((try? JSONText.line(desk.value.state.hits(under: argument))) ?? "{}", context.channel)
        default: reply("ERROR unknown request", context.channel)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        // A client that died or gave up is not answered when its key is released.
        let gone = ObjectIdentifier(context.channel)
        desk.value.held.removeAll { ObjectIdentifier($0.channel) == gone }
        desk.value.watchers.removeAll { ObjectIdentifier($0.channel) == gone }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func get(_ key: String, _ channel: any Channel) {
        let decision = desk.value.state.get(key)
        if case .hold(let hit) = decision {
            desk.value.held.append(OriginDesk.Held(key: key, hit: hit, channel: channel))
            let told = desk.value.watchers.filter { key.hasPrefix($0.prefix) }
            desk.value.watchers.removeAll { key.hasPrefix($0.prefix) }
            for watcher in told { reply("OK", watcher.channel) }
        } else {
            answer(key, decision, channel)
        }
    }

    private func watch(_ prefix: String, _ channel: any Channel) {
        if desk.value.held.contains(where: { $0.key.hasPrefix(prefix) }) {
            reply("OK", channel)
        } else {
            desk.value.watchers.append(OriginDesk.Watcher(prefix: prefix, channel: channel))
        }
    }

    private func release(_ prefix: String, _ channel: any Channel) {
        desk.value.state.release(prefix)
        let released = desk.value.held.filter { $0.key.hasPrefix(prefix) }
        desk.value.held.removeAll { $0.key.hasPrefix(prefix) }
        for request in released {
            answer(request.key, desk.value.state.afterHold(request.key, hit: request.hit), request.channel)
        }
        reply("OK", channel)
    }

    private func answer(_ key: String, _ decision: OriginState.Decision, _ channel: any Channel) {
        let line: String
        switch decision {
        case .answer(let hit): line = "OK \(key) \(hit)"
        case .fail(let hit): line = "FAIL \(key) \(hit)"
        case .hold: return
        }
        _ = channel.eventLoop.scheduleTask(in: desk.value.latency) { reply(line, channel) }
    }

    private func change(_ channel: any Channel, _ change: (inout OriginState) -> Void) {
        change(&desk.value.state)
        reply("OK", channel)
    }
}

private func reply(_ line: String, _ channel: any Channel) {
    channel.writeAndFlush(channel.allocator.buffer(string: line + "\n"), promise: nil)
}

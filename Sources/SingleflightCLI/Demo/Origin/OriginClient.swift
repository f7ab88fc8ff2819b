import Foundation
import NIOCore
import NIOPosix

/// The origin answered, and the answer was a failure.
package struct OriginFailure: Error, CustomStringConvertible, Equatable {
    package let description: String
}

/// Asks the origin. Each request has a connection of its own, as the requests of a simple HTTP client would.
package struct OriginClient: Sendable {
    package let host: String
    package let port: Int

    package init(host: String = "127.0.0.1", port: Int) {
        self.host = host
        self.port = port
    }

    /// The number of this hit on `key`, when the origin answers; cancellation hangs up at once.
    ///
    /// - Throws: ``OriginFailure``, also when the origin cannot be reached; `CancellationError`.
    package func get(_ key: String) async throws -> Int {
        let answer = try await ask("GET \(key)", within: nil)
        let words = answer.split(separator: " ")
        guard words.count == 3, words[1] == key, let hit = Int(words[2]) else {
            throw OriginFailure(description: "the origin answered '\(answer)' to GET \(key)")
        }
        guard words[0] == "OK" else { throw OriginFailure(description: "the origin failed on \(key), hit \(hit)") }
        return hit
    }

    package func hold(_ prefix: String) async throws { try await command("HOLD", prefix) }
    package func release(_ prefix: String) async throws { try await command("RELEASE", prefix) }
    package func fail(_ prefix: String) async throws { try await command("FAIL", prefix) }
    package func mend(_ prefix: String) async throws { try await command("MEND", prefix) }

    /// Returns as soon as the origin holds a request for a key that begins with `prefix`.
    package func waitUntilHeld(_ prefix: String) async throws { try await command("HELD", prefix) }

    /// Hits of every key that begins with `prefix`.
    package func hits(under prefix: String) async throws -> [String: Int] {
        try JSONText.decode([String: Int].self, from: try await ask("STATS \(prefix)", within: .seconds(5)))
    }

    private func command(_ verb: String, _ prefix: String) async throws {
        let answer = try await ask("\(verb) \(prefix)", within: .seconds(5))
        guard answer == "OK" else { throw OriginFailure(description: "the origin answered '\(answer)' to \(verb)") }
    }

    private func ask(_ request: String, within limit: TimeAmount?) async throws -> String {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let answer = loop.makePromise(of: String.self)
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: loop)
                .connectTimeout(.seconds(5))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.addHandler(ByteToMessageHandler(LineDecoder(), maximumBufferSize: 1 << 20))
                        try pipeline.addHandler(FirstLine(answer))
                    }
                }
                .connect(host: host, port: port)
                .get()
        } catch {
            let failure = OriginFailure(description: "the origin cannot be reached: \(error)")
            answer.fail(failure)
            throw failure
        }
        let timer = limit.map { loop.scheduleTask(in: $0) { channel.close(promise: nil) } }
        defer { timer?.cancel() }
        return try await withTaskCancellationHandler {
            channel.writeAndFlush(channel.allocator.buffer(string: request + "\n"), promise: nil)
            do {
                let line = try await answer.futureResult.get()
                channel.close(promise: nil)
                return line
            } catch {
                try Task.checkCancellation()
                throw error
            }
        } onCancel: {
            channel.close(promise: nil)
        }
    }
}

/// Keeps the first line that arrives, or the fact that none will.
private final class FirstLine: ChannelInboundHandler {
    typealias InboundIn = String

    private let answer: EventLoopPromise<String>

    init(_ answer: EventLoopPromise<String>) { self.answer = answer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { answer.succeed(unwrapInboundIn(data)) }

    func channelInactive(context: ChannelHandlerContext) {
        answer.fail(OriginFailure(description: "the origin hung up"))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func handlerRemoved(context: ChannelHandlerContext) {
        answer.fail(OriginFailure(description: "the origin hung up"))
    }
}

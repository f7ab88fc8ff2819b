import Foundation
import HiredisClient
import Singleflight
import SingleflightCLI
import SingleflightRedis

/// Streams, and messages by themselves.
extension BenchWorker {
    func writeStream(_ key: String, parts: Int, bytes: Int) async -> Line {
        let memory = ProcessMemory()
        let (began, begin) = AsyncStream.makeStream(of: MonotonicTime.self)
        // It is not read here: a reader that does not read is to hold nothing.
        let stream = streams.stream(key) { [say, finishing] writer in
            say(.answer(.leading))
            for await _ in finishing { break }
            begin.yield(.now)
            for _ in 0..<parts { try await writer.write(StampedPayload.make(bytes: bytes)) }
            begin.finish()
        }
        var start = MonotonicTime.now
        for await time in began { start = time }
        let seconds = start.duration(to: .now) / .seconds(1)
        let growth = memory?.growth
        // The flight is over when its last part is stored.
        while streams.inFlight > 0 { try? await Task.sleep(for: .milliseconds(1)) }
        withExtendedLifetime(stream) {}
        return .answer(
            .streamed(StreamFigures(handedOver: start, bytes: parts * bytes, seconds: seconds, growth: growth))
        )
    }

    func readStream(_ key: String, readers: Int) async -> Line {
        let memory = ProcessMemory()
        do {
            var figures = try await withThrowingTaskGroup(of: StreamFigures.self) { tasks in
                for _ in 0..<readers { tasks.addTask { [streams] in try await Self.read(streams.follow(key)) } }
                var total: StreamFigures?
                for try await figures in tasks {
                    guard var sum = total else {
                        total = figures
                        continue
                    }
                    sum.bytes += figures.bytes
                    sum.seconds = max(sum.seconds, figures.seconds)
                    total = sum
                }
                return total ?? StreamFigures()
            }
            figures.growth = memory?.growth
            return .answer(.streamed(figures))
        } catch {
            return .failed("a reader got \(error)")
        }
    }

    private static func read(_ stream: FlightStream<[UInt8]>) async throws -> StreamFigures {
        var figures: StreamFigures?
        for try await part in stream {
            let time = figures ?? StreamFigures(handedOver: StampedPayload.time(of: part), arrived: .now)
            figures = time
            figures?.bytes += part.count
        }
        guard var figures else { return StreamFigures() }
        figures.seconds = figures.arrived.duration(to: .now) / .seconds(1)
        return figures
    }

    /// Hears one message on a channel.
    func hear(_ channel: String) async -> Line {
        let (messages, message) = AsyncStream.makeStream(of: (MonotonicTime, MonotonicTime).self)
        let subscription = store.client.makeSubscription(to: channel) { event in
            guard case .message(let bytes) = event else { return }
            message.yield((StampedPayload.time(of: bytes), .now))
        }
        subscription.start()
        do {
            try await subscription.subscribed(within: .seconds(20))
            say(.answer(.subscribed))
            var heard: (MonotonicTime, MonotonicTime)?
            for await times in messages {
                heard = times
                break
            }
            await subscription.shutdown()
            guard let heard else { return .failed("no message came") }
            return .answer(.followed(handedOver: heard.0, arrived: heard.1))
        } catch {
            await subscription.shutdown()
            return .failed("a subscriber got \(error)")
        }
    }

    func tell(_ channel: String) async -> Line {
        let words: [RedisArgument] = [.string(channel), .bytes(StampedPayload.make(bytes: 100))]
        do {
            _ = try await store.client.send(RedisCommand("PUBLISH", arguments: words))
            return .answer(.told)
        } catch {
            return .failed("a publisher got \(error)")
        }
    }
}

/// What the process has in memory; Linux only.
private struct ProcessMemory {
    private let before: Int

    init?() {
        // The peak so far counts for nothing.
        try? "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8)
        guard let now = Self.value("VmRSS") else { return nil }
        before = now
    }

    /// The peak since then, beyond what there was then, in bytes.
    var growth: Int? { Self.value("VmHWM").map { $0 - before } }

    private static func value(_ name: String) -> Int? {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return line.flatMap { Int($0.filter(\.isNumber)) }.map { $0 * 1024 }
    }
}

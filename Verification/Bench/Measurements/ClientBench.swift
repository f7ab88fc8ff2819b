import HiredisClient
import SingleflightCLI
import Synchronization

/// The Redis client by itself: `EVALSHA` of `return 1`, as the lease store uses it, by callbacks on its event loop.
struct ClientBench {
    struct Figures: Codable, Sendable {
        let inFlight: Int
        let perSecond: Double
        /// Processor time per command, in nanoseconds.
        let cpu: Double
        let latency: LatencyHistogram
    }

    let client: RedisDeploymentClient

    func run(inFlight: Int, commands: Int) async throws -> Figures {
        let script = RedisScript("return 1")
        // So that the server has it.
        _ = try await client.evaluate(script, keys: [])
        let start = MonotonicTime.now
        let cpu = ProcessTime.now
        let latency = await withCheckedContinuation { continuation in
            let relay = Relay(client: client, script: script, commands: commands, continuation: continuation)
            for _ in 0..<inFlight { relay.next() }
        }
        let seconds = start.duration(to: .now) / .seconds(1)
        return Figures(
            inFlight: inFlight,
            perSecond: Double(commands) / seconds,
            cpu: Double(ProcessTime.now - cpu) / Double(commands),
            latency: latency
        )
    }

    /// Sends the next command when one is answered.
    private final class Relay: Sendable {
        private struct State {
            var left: Int
            var unanswered: Int
            var latency = LatencyHistogram()
        }

        private let client: RedisDeploymentClient
        private let script: RedisScript
        private let state: Mutex<State>
        private let continuation: CheckedContinuation<LatencyHistogram, Never>

        init(
            client: RedisDeploymentClient,
            script: RedisScript,
            commands: Int,
            continuation: CheckedContinuation<LatencyHistogram, Never>
        ) {
            self.client = client
            self.script = script
            self.continuation = continuation
            state = Mutex(State(left: commands, unanswered: commands))
        }

        func next() {
            let mayStart = state.withLock { state in
                guard state.left > 0 else { return false }
                state.left -= 1
                return true
            }
            guard mayStart else { return }
            let sent = MonotonicTime.now
            client.evaluate(script, keys: []) { _ in
                let elapsed = MonotonicTime.now.nanoseconds - sent.nanoseconds
                let finished: LatencyHistogram? = self.state.withLock { state in
                    state.latency.record(nanoseconds: elapsed)
                    state.unanswered -= 1
                    return state.unanswered == 0 ? state.latency : nil
                }
                if let finished { return self.continuation.resume(returning: finished) }
                self.next()
            }
        }
    }
}

import HiredisClient
import SingleflightLease
import Synchronization

/// Until when a request is wanted, in the time of the server that it is sent to: learned once a connection is up, and
/// from each answer that tells it. Each node of a cluster has a clock of its own.
///
/// No request waits for it. As long as nothing is known, requests go out without a limit.
final class ServerTime: Sendable {
    private let clock: EventLoopClock
    /// Of the one server.
    let known = Mutex(ServerClock())
    /// Of a cluster's nodes.
    private let nodes = Mutex<[NodeAddress: ServerClock]>([:])

    init(clock: EventLoopClock) {
        self.clock = clock
    }

    /// Asks the server, which may be another one than before. A user who may not ask goes without.
    ///
    /// - Parameter node: which of a cluster it is; `nil` where there is none.
    func ask(_ client: any RedisCommanding, node: NodeAddress? = nil) {
        let sentAt = self.clock.now
        client.send(RedisCommand("TIME"), timeout: nil, order: .none) { result in
            guard case .success(let reply) = result, let time = reply.serverTime else { return }
            self.learn(time, resolution: .microseconds(1), sentAt: sentAt, node)
        }
    }

    /// The server told its time in answer to what was sent at `sentAt`.
    func learn(milliseconds: Int, sentAt: LeaseInstant, node: NodeAddress?) {
        self.learn(.milliseconds(milliseconds), resolution: .milliseconds(1), sentAt: sentAt, node)
    }

    /// The last millisecond by the server's clock that can begin before `instant`; 0, for no limit, if nothing is
    /// known.
    func notAfter(_ instant: LeaseInstant, node: NodeAddress?) -> Int64 {
        let latest =
            if let node {
                self.nodes.withLock { $0[node]?.latest(at: instant) }
            } else {
                self.known.withLock { $0.latest(at: instant) }
            }
        return latest?.milliseconds ?? 0
    }

    private func learn(_ time: Duration, resolution: Duration, sentAt: LeaseInstant, _ node: NodeAddress?) {
        let receivedAt = self.clock.now
        guard let node else {
            return self.known.withLock {
                $0.learn(time, resolution: resolution, sentAt: sentAt, receivedAt: receivedAt)
            }
        }
        self.nodes.withLock {
            $0[node, default: ServerClock()]
                .learn(time, resolution: resolution, sentAt: sentAt, receivedAt: receivedAt)
        }
    }
}

extension RESPValue {
    /// The server's time since 1970, as `TIME` is answered; `nil` for anything else, and beyond the year 285 000, as in
    /// scripts' answers: it is computed with in milliseconds, until it overflows.
    var serverTime: Duration? {
        guard let parts = self.array, parts.count == 2, let seconds = parts[0].number,
            let microseconds = parts[1].number, (0...(1 << 53) / 1_000).contains(seconds),
            (0..<1_000_000).contains(microseconds)
        else { return nil }
        return .seconds(seconds) + .microseconds(microseconds)
    }

    /// Redis tells its time in strings, Dragonfly in integers.
    private var number: Int64? { self.integer ?? self.string.flatMap { Int64($0) } }
}

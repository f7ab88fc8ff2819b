import HiredisClient
import SingleflightLease
import Synchronization

/// One pass over the keys of the server, or of each primary of a cluster, by SCAN, in steps whose size follows from how
/// long the server takes for them.
struct KeyScan {
    /// What a step came to.
    struct Page {
        /// The names found, often none.
        var names: [String]
        /// The server's time after the step, since 1970; `nil` where this user may not ask for it.
        var time: Duration?
    }

    /// Where the pass stands; `nil` at its end.
    private var cursor: UInt64?
    private var pace = ScanPace()
    /// The servers to ask, from the one on that is being asked; `nil` before the first step.
    private var servers: ArraySlice<any RedisCommanding>?
    private var serverCount = 1

    init(cursor: UInt64? = 0) {
        self.cursor = cursor
    }

    /// The share of the keys that was looked at so far, as if all servers had as many.
    var fraction: Double {
        guard let servers, !servers.isEmpty else { return self.fractionOfServer }
        return (Double(self.serverCount - servers.count) + self.fractionOfServer) / Double(self.serverCount)
    }

    /// SCAN counts with the highest bit first: mirrored, its cursor is a fraction.
    private var fractionOfServer: Double {
        guard let cursor else { return 1 }
        var mirrored: UInt64 = 0
        for bit in 0..<64 where cursor & 1 << UInt64(bit) != 0 {
            mirrored |= 1 << UInt64(63 - bit)
        }
        return Double(mirrored) / Double(UInt64.max)
    }

    /// The next step; `nil` after the last.
    ///
    /// The server's own clock, asked right before and after, tells what the step took there: the way to it, however
    /// long, does not make the steps smaller.
    mutating func next(matching pattern: String, by store: RedisLeaseStore) async throws(LeaseStoreError) -> Page? {
        guard let cursor else { return nil }
        let servers = self.servers ?? store.client.scannable[...]
        if self.servers == nil { self.serverCount = servers.count }
        self.servers = servers
        guard let server = servers.first else {
            throw LeaseStoreError(.unavailable, "it is not known which servers have the keys")
        }
        let scan = RedisCommand(
            "SCAN",
            .string("\(cursor)"),
            "MATCH",
            .string(pattern),
            "COUNT",
            .integer(Int64(self.pace.count))
        )
        let time = RedisCommand("TIME")
        let sent = ContinuousClock.now
        let results = await server.results(of: [time, scan, time].map { ($0, .none) })
        let trip = sent.duration(to: .now)
        let reply: RESPValue
        switch results[1] {
        case .success(let value): reply = value
        case .failure(let error) where error.serverError?.code == "NOPERM":
            throw LeaseStoreError(.refused, Self.missingRight, underlying: error)
        case .failure(let error): throw LeaseStoreError(error)
        }
        guard let page = reply.array, page.count == 2, let next = page[0].string.flatMap({ UInt64($0) }),
            let names = page[1].array
        else {
            throw LeaseStoreError(.protocolViolation, "unexpected reply to SCAN")
        }
        let (start, end) = (try? results[0].get().serverTime, try? results[2].get().serverTime)
        // A clock that was set back meanwhile tells nothing; the trip is longer than the step in any case.
        if let start, let end, end >= start {
            self.pace.took(min(end - start, trip))
        } else {
            self.pace.took(trip)
        }
        self.cursor = next == 0 ? nil : next
        if next == 0, servers.count > 1 {
            self.servers = servers.dropFirst()
            self.cursor = 0
            self.pace = ScanPace()
        }
        return Page(names: names.compactMap(\.string), time: end)
    }

    /// Workers do without it on purpose: nobody who runs a worker can be expected to know why its URL lists nothing.
    private static let missingRight = """
        this user may not look for keys: finding leases takes the right +scan, which workers do without; \
        use the URL of an operator, or give this user the right (ACL SETUSER name +scan)
        """
}

extension RedisLeaseStore {
    /// Sends the commands in one go, to where the keys of `place` are, and returns their replies in order.
    ///
    /// - Throws: the first of the failures.
    func execute(_ commands: [RedisCommand], at place: RedisOrder) async throws(LeaseStoreError) -> [RESPValue] {
        let results = await self.results(of: commands.map { ($0, place) })
        do {
            return try results.map { result throws(RedisClientError) in try result.get() }
        } catch {
            throw LeaseStoreError(error)
        }
    }

    /// Sends the commands in one go, each to its place, and returns what became of each, in order.
    func results(of commands: [(RedisCommand, RedisOrder)]) async -> [Result<RESPValue, RedisClientError>] {
        await self.client.results(of: commands)
    }
}

extension RedisCommanding {
    /// Sends the commands in one go, each to its place, and returns what became of each, in order.
    fileprivate func results(of commands: [(RedisCommand, RedisOrder)]) async -> [Result<RESPValue, RedisClientError>] {
        guard !commands.isEmpty else { return [] }
        return await withCheckedContinuation { continuation in
            let replies = RepliesInOrder(count: commands.count)
            for (index, (command, place)) in commands.enumerated() {
                self.send(command, timeout: nil, order: place) { result in
                    if let all = replies.put(result, at: index) {
                        continuation.resume(returning: all)
                    }
                }
            }
        }
    }
}

/// Collects the replies to a known number of commands.
private final class RepliesInOrder: Sendable {
    private let state: Mutex<(replies: [Result<RESPValue, RedisClientError>?], missing: Int)>

    init(count: Int) {
        self.state = Mutex((Array(repeating: nil, count: count), count))
    }

    /// All replies, once the last has come.
    func put(_ reply: Result<RESPValue, RedisClientError>, at index: Int) -> [Result<RESPValue, RedisClientError>]? {
        self.state.withLock { state in
            state.replies[index] = reply
            state.missing -= 1
            return state.missing == 0 ? state.replies.compactMap { $0 } : nil
        }
    }
}

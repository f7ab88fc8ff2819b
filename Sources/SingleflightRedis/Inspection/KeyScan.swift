import HiredisClient
import SingleflightLease
import Synchronization

/// One pass over the server's keys by SCAN, in steps whose size follows from how long the server takes for them.
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

    init(cursor: UInt64? = 0) {
        self.cursor = cursor
    }

    /// The share of the keys that was looked at so far. SCAN counts with the highest bit first: mirrored, its cursor is
    /// a fraction.
    var fraction: Double {
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
        let results = await store.results(of: [time, scan, time])
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
        return Page(names: names.compactMap(\.string), time: end)
    }

    /// Workers do without it on purpose: nobody who runs a worker can be expected to know why its URL lists nothing.
    private static let missingRight = """
        this user may not look for keys: finding leases takes the right +scan, which workers do without; \
        use the URL of an operator, or give this user the right (ACL SETUSER name +scan)
        """
}

extension RedisLeaseStore {
    /// Sends the commands in one go and returns their replies in order.
    ///
    /// - Throws: the first of the failures.
    func execute(_ commands: [RedisCommand]) async throws(LeaseStoreError) -> [RESPValue] {
        let results = await self.results(of: commands)
        do {
            return try results.map { result throws(RedisClientError) in try result.get() }
        } catch {
            throw LeaseStoreError(error)
        }
    }

    /// Sends the commands in one go and returns what became of each, in order.
    func results(of commands: [RedisCommand]) async -> [Result<RESPValue, RedisClientError>] {
        guard !commands.isEmpty else { return [] }
        return await withCheckedContinuation { continuation in
            let replies = RepliesInOrder(count: commands.count)
            for (index, command) in commands.enumerated() {
                self.client.send(command) { result in
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

import HiredisClient
import SingleflightLease
import Synchronization

/// One pass over the server's keys by SCAN.
struct KeyScan {
    /// Where the pass stands; `nil` at its end.
    private var cursor: UInt64?

    /// Keys that one SCAN looks at. Among a million keys the server spends up to 0.8 µs on each, so a step keeps it for less than
    /// half a millisecond; larger steps do not make the whole faster.
    private static let step: RedisArgument = "500"

    init(cursor: UInt64? = 0) {
        self.cursor = cursor
    }

    /// The share of the keys that was looked at so far. SCAN counts with the highest bit first: mirrored, its cursor is a fraction.
    var fraction: Double {
        guard let cursor else { return 1 }
        var mirrored: UInt64 = 0
        for bit in 0..<64 where cursor & 1 << UInt64(bit) != 0 {
            mirrored |= 1 << UInt64(63 - bit)
        }
        return Double(mirrored) / Double(UInt64.max)
    }

    /// The names found in the next step, often none; `nil` after the last step.
    mutating func next(matching pattern: String, by store: RedisLeaseStore) async throws(LeaseStoreError) -> [String]? {
        guard let cursor else { return nil }
        let scan = RedisCommand("SCAN", .string("\(cursor)"), "MATCH", .string(pattern), "COUNT", Self.step)
        let reply = try await store.execute([scan])[0]
        guard let page = reply.array, page.count == 2, let next = page[0].string.flatMap({ UInt64($0) }),
            let names = page[1].array
        else {
            throw LeaseStoreError(.protocolViolation, "unexpected reply to SCAN")
        }
        self.cursor = next == 0 ? nil : next
        return names.compactMap(\.string)
    }
}

extension RedisLeaseStore {
    /// Sends the commands in one go and returns their replies in order.
    ///
    /// - Throws: the first of the failures.
    func execute(_ commands: [RedisCommand]) async throws(LeaseStoreError) -> [RESPValue] {
        guard !commands.isEmpty else { return [] }
        let results = await withCheckedContinuation { continuation in
            let replies = RepliesInOrder(count: commands.count)
            for (index, command) in commands.enumerated() {
                self.client.send(command) { result in
                    if let all = replies.put(result, at: index) {
                        continuation.resume(returning: all)
                    }
                }
            }
        }
        do {
            return try results.map { result throws(RedisClientError) in try result.get() }
        } catch {
            throw LeaseStoreError(error)
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

import Synchronization
import TestSupport
import Testing

@testable import Singleflight

struct OperationError: Error, Equatable {
    var number = 1
}

/// What a test may expect of an outcome, in a form that can be compared.
enum Seen: Equatable {
    case value(Int, shared: Bool, Role)
    case failed(OperationError, shared: Bool, Role)
    case failedOtherwise(String)
    case canceled(String)

    init(_ outcome: Outcome<Int>) {
        switch outcome {
        case .complete(let completion):
            switch completion.result {
            case .success(let value):
                self = .value(value, shared: completion.isShared, completion.role)
            case .failure(let error as OperationError):
                self = .failed(error, shared: completion.isShared, completion.role)
            case .failure(let error):
                self = .failedOtherwise("\(error)")
            }
        case .canceled(let reason):
            self = .canceled(reason.description)
        }
    }

    static let leaderLeft = Seen(.canceled(.leaderLeft))
    static let callerCanceled = Seen(.canceled(.callerCanceled))
    static let noFlight = Seen(.canceled(.noFlight))
    static let left = Seen(.canceled(.left))
    static let abandoned = Seen(.canceled(.abandoned))

    var isRefusal: Bool {
        guard case .canceled(let reason) = self else { return false }
        return reason.hasPrefix("refused")
    }
}

extension Subscriber where Value == Int {
    func seen() async -> Seen {
        Seen(await self.outcome())
    }
}

extension Group where Value == Int {
    func seen(
        _ key: Key,
        _ cancellation: CancellationPolicy? = nil,
        _ operation: @escaping @Sendable () async throws -> Int
    ) async -> Seen {
        Seen(await self.run(key, cancellation: cancellation, operation: operation))
    }
}

extension Group {
    func leader(_ key: Key) throws -> Leader<Key, Value> {
        guard case .leader(let leader) = self.entry(key) else { throw UnexpectedEntry() }
        return leader
    }

    func subscriber(_ key: Key) throws -> Subscriber<Key, Value> {
        guard case .subscriber(let subscriber) = self.entry(key) else { throw UnexpectedEntry() }
        return subscriber
    }

    /// How many slots of the group's tables hold a flight, open or closed.
    var usedSlots: Int {
        self.shards.reduce(0) { count, shard in count + shard.table.withLock { $0.usedCount } }
    }

    /// How many callers are suspended in flights, open or closed.
    var suspendedCallers: Int {
        self.shards.reduce(0) { count, shard in
            count + shard.table.withLock { $0.slots.reduce(0) { $0 + $1.flight.seats.waiting } }
        }
    }
}

struct UnexpectedEntry: Error {}

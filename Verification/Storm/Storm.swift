import SingleflightLease
import Synchronization

/// How a call ended.
enum Ending: Sendable {
    case value(Int)
    case callerCanceled
    case other(String)
}

/// What storms have come to.
struct StormTally {
    var callers = 0
    var values = 0
    var canceled = 0
    var operations = 0
}

/// What a storm must never see.
struct StormFailure: Error, CustomStringConvertible {
    let description: String
}

/// Ten thousand callers on each of a few keys; about half of them are canceled, at random moments: before they ask,
/// while they join, while they wait, and while the outcome is handed out. Each must be resumed exactly once, with the
/// value of its key, or, if it was canceled, with that.
struct Storm: Sendable {
    static let callersPerKey = 10_000
    static let keys = 2

    typealias Operation = @Sendable @concurrent () async throws -> Int
    /// Makes one call: for this key, as this caller.
    var call: @Sendable @concurrent (_ key: Int, _ caller: Int, _ operation: @escaping Operation) async -> Ending
    /// Says what is left when all have returned; nil if nothing is.
    var remains: @Sendable @concurrent () async -> String?

    /// One caller; counts how often it came back.
    private final class Caller: Sendable {
        let returns = Atomic(0)
    }

    func run(seed: UInt64, into tally: inout StormTally) async throws(StormFailure) {
        var random = FlightRandom.seeded(seed)
        // Ends when the door is opened; an operation waits for that, canceled or not.
        let (opening, door) = AsyncStream.makeStream(of: Void.self)
        let opened = Task { for await _ in opening {} }
        let operations = Counter()
        let count = Self.keys * Self.callersPerKey
        // The outcome comes before all have asked, or after.
        let moment = Int.random(in: 0...(2 * count), using: &random)
        var callers: [Caller] = [], tasks: [Task<Ending, Never>] = [], isCanceled: [Bool] = []
        var late: [Int] = []
        for number in 0..<count {
            let caller = Caller(), key = number % Self.keys, call = self.call
            let task = Task {
                let ending = await call(key, number) {
                    operations.increment()
                    await opened.value
                    return key
                }
                caller.returns.add(1, ordering: .relaxed)
                return ending
            }
            switch Int.random(in: 0..<4, using: &random) {
            case 0: task.cancel()
            case 1: late.append(number)
            default: break
            }
            callers.append(caller)
            tasks.append(task)
            isCanceled.append(task.isCancelled)
            if number == moment { door.finish() }
        }
        late.shuffle(using: &random)
        for number in late { isCanceled[number] = true }
        // Two tasks cancel, one after the other's back, while the outcome is handed out.
        let canceling = [late.prefix(late.count / 2), late.suffix(late.count - late.count / 2)].map { numbers in
            let those = numbers.map { tasks[$0] }
            return Task { for task in those { task.cancel() } }
        }
        door.finish()
        for task in canceling { await task.value }

        for (number, task) in tasks.enumerated() {
            switch await task.value {
            case .value(number % Self.keys): tally.values += 1
            case .callerCanceled where isCanceled[number]: tally.canceled += 1
            case let ending:
                throw StormFailure(description: "caller \(number), canceled: \(isCanceled[number]): \(ending)")
            }
        }
        for (number, caller) in callers.enumerated() {
            let returns = caller.returns.load(ordering: .relaxed)
            guard returns == 1 else { throw StormFailure(description: "caller \(number) came back \(returns) times") }
        }
        if let left = await self.remains() { throw StormFailure(description: "left behind: \(left)") }
        tally.callers += count
        tally.operations += operations.value
    }
}

/// Counts from any thread.
final class Counter: Sendable {
    private let count = Atomic(0)

    var value: Int { self.count.load(ordering: .relaxed) }

    func increment() { self.count.add(1, ordering: .relaxed) }
}

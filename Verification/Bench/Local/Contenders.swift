import Synchronization

/// What many write in half an hour: an actor with a dictionary of tasks.
actor NaiveActor {
    private var tasks: [String: Task<Int, Never>] = [:]

    func value(_ key: String, _ operation: @escaping @Sendable @concurrent () async -> Int) async -> Int {
        if let task = tasks[key] { return await task.value }
        let task = Task { await operation() }
        tasks[key] = task
        let value = await task.value
        tasks[key] = nil
        return value
    }
}

/// The least that any coalescing does: put the key in, take it out.
final class BareDictionary: Sendable {
    private let keys = Mutex<[String: Int]>([:])

    @inline(never)
    func insert(_ key: String) { keys.withLock { $0[key] = 1 } }

    @inline(never)
    func remove(_ key: String) { keys.withLock { _ = $0.removeValue(forKey: key) } }
}

import Dispatch
import Synchronization

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

// What a sanitizer must report, and what it must not: `make sanitize` runs it before anything else.
// One argument: `locked`, `raced`, `freed` or `clean`.

/// Counts under a lock that eight threads contend for, in a value that moves about in memory.
private final class Locked: Sendable {
    let numbers = Mutex<[Int]>([])

    func count() {
        self.numbers.withLock { numbers in
            numbers.append(numbers.count)
            if numbers.count > 100 { numbers.removeAll() }
        }
    }
}

/// Counts without a lock: a planted race. Unchecked, or the compiler would not let it pass.
private final class Raced: @unchecked Sendable {
    var number = 0

    func count() { self.number += 1 }
}

private func contend(_ work: @escaping @Sendable () -> Void) {
    let threads = DispatchGroup()
    for _ in 0..<8 {
        DispatchQueue.global().async(group: threads) {
            for _ in 0..<20_000 { work() }
        }
    }
    threads.wait()
}

switch CommandLine.arguments.dropFirst().first {
case "locked":
    let locked = Locked()
    contend { locked.count() }
case "raced":
    let raced = Raced()
    contend { raced.count() }
case "freed":
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
    memory.initialize(repeating: 1, count: 64)
    memory.deallocate()
    exit(Int32(memory[7]) - 1)
case "clean":
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
    memory.initialize(repeating: 1, count: 64)
    let value = memory[7]
    memory.deallocate()
    exit(Int32(value) - 1)
default:
    exit(EX_USAGE)
}

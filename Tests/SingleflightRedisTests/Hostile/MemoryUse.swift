import Foundation
import Synchronization

/// The memory of this process, in bytes; `nil` where the system does not tell.
enum MemoryUse {
    static var now: Int? { self.field("VmRSS") }
    static var peak: Int? { self.field("VmHWM") }

    private static func field(_ name: String) -> Int? {
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("\(name):") })
        else { return nil }
        return Int(line.filter(\.isNumber)).map { $0 << 10 }
    }
}

/// Gives out numbers, each once.
final class Numbers: Sendable {
    private let next: Mutex<UInt64>

    init(_ first: UInt64) {
        self.next = Mutex(first)
    }

    func take(below end: UInt64) -> UInt64? {
        self.next.withLock { next in
            guard next < end else { return nil }
            defer { next += 1 }
            return next
        }
    }
}

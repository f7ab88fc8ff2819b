import Foundation

#if os(Linux)
    /// What a process does, as a letter of `/proc`: `R` for running, `S` for waiting, `T` for stopped.
    func processState(of id: String) throws -> Substring? {
        try String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8).split(separator: ") ").last?.prefix(1)
    }
#endif

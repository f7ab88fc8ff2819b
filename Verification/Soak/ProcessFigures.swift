import Foundation

/// What the system says of a process's size; Linux only.
struct ProcessFigures {
    var residentBytes: Double
    var descriptors: Double

    /// `nil` if the process is gone.
    init?(of process: Int32) {
        guard let status = try? String(contentsOfFile: "/proc/\(process)/statm", encoding: .utf8),
            let pages = status.split(separator: " ").dropFirst().first.flatMap({ Double($0) }), pages > 0,
            let open = try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd")
        else { return nil }
        self.residentBytes = pages * Double(sysconf(Int32(_SC_PAGESIZE)))
        self.descriptors = Double(open.count)
    }
}

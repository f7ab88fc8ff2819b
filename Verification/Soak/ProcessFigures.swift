import Foundation

/// What the system says of a process's size; Linux only.
struct ProcessFigures {
    var residentBytes: Double
    var descriptors: Double
    /// In seconds, since its start.
    var processorTime: Double

    /// `nil` if the process is gone.
    init?(of process: Int32) {
        guard let status = try? String(contentsOfFile: "/proc/\(process)/statm", encoding: .utf8),
            let pages = status.split(separator: " ").dropFirst().first.flatMap({ Double($0) }), pages > 0,
            let open = try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd"),
            let times = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
            // Behind the name, which may hold anything: from the third field on, of which the 14th and 15th are wanted.
            let fields = times.split(separator: ")").last?.split(separator: " "), fields.count > 12,
            let user = Double(fields[11]), let system = Double(fields[12])
        else { return nil }
        self.processorTime = (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
        self.residentBytes = pages * Double(sysconf(Int32(_SC_PAGESIZE)))
        self.descriptors = Double(open.count)
    }
}

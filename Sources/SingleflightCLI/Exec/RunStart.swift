import Foundation
import SingleflightRedis

/// When a run of a command began.
struct RunStart {
    private let instant = ContinuousClock.now
    private let time = Date().timeIntervalSince1970

    /// What `singleflight last` tells of the run when it is over.
    ///
    /// - Parameter status: nil of a command that was ended.
    func record(by label: String, status: Int32?) -> RunRecord {
        RunRecord(
            label: label,
            startedAt: Int64(time * 1_000),
            milliseconds: instant.duration(to: .now).wholeMilliseconds,
            status: status
        )
    }
}

extension ExecConfiguration {
    /// Under which runs are recorded: those of all slots of a key together.
    func recordKey() throws -> FlightKey { try FlightKey(group: group, bytes: key) }
}

import Foundation
import SingleflightRedis

/// When a run of a command began.
struct RunStart {
    private let instant = ContinuousClock.now
    private let time = Date().timeIntervalSince1970

    /// What `singleflight last` tells of the run when it is over.
    func record(status: Int32) -> RunRecord {
        RunRecord(
            label: RedisLeaseStoreConfiguration.defaultLabel,
            user: NSUserName(),
            startedAt: Int64(time * 1_000),
            milliseconds: instant.duration(to: .now).wholeMilliseconds,
            status: status
        )
    }
}

extension RunRecord {
    /// Keeps the record of a run for `singleflight last`, if Redis can be asked. Nothing depends on it: where it cannot be
    /// kept, the run is what it was.
    static func keep(
        _ record: RunRecord?,
        _ outcome: Outcome<CommandRecording>,
        _ configuration: ExecSession.Configuration,
        by store: some LeaseStore
    ) async {
        guard var record, let store = store as? RedisLeaseStore,
            let key = try? FlightKey(group: configuration.group, bytes: Array(configuration.key.utf8))
        else { return }
        switch outcome {
        // The server that could not be told of the result is not asked to keep a record of it.
        case .complete(let completion): if case .failure = completion.result { return }
        case .canceled(let reason): record.reason = "canceled: \(reason)"
        }
        try? await store.record(record, of: key)
    }
}

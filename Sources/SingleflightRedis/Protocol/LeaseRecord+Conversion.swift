import HiredisClient
import SingleflightLease

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension LeaseRecord.Note {
    /// - Parameter key: the flight's key, where its name does not tell it.
    init(_ note: LeaseNote, key: FlightKey?) {
        self.init(
            label: note.label,
            startedAt: Self.nowInMilliseconds - note.age.milliseconds,
            renewals: note.renewals,
            fraction: note.progress?.fraction,
            message: note.progress?.message,
            report: note.progress.flatMap { $0.number == 0 ? nil : $0.number },
            trace: note.trace?.fields,
            key: key.map { String(decoding: $0.bytes.prefix(1024), as: UTF8.self) }
        )
    }

    /// Milliseconds since 1970 by this process's wall clock; for display only.
    private static var nowInMilliseconds: Int64 {
        Int64(Date().timeIntervalSince1970 * 1000)
    }

    var leaseNote: LeaseNote { self.leaseNote(at: Self.nowInMilliseconds) }

    /// The note as of `time`, in milliseconds since 1970.
    func leaseNote(at time: Int64) -> LeaseNote {
        var progress = FlightProgress(fraction: self.fraction, message: self.message ?? "")
        progress.number = self.report ?? 0
        let hasProgress = self.fraction != nil || self.message != nil
        // What others wrote is taken no more on trust than what a tracer here writes.
        var trace = TraceContext()
        for (name, value) in (self.trace ?? [:]).sorted(by: { $0.key < $1.key }) { trace.set(name, to: value) }
        return LeaseNote(
            label: self.label,
            // Both come from elsewhere: the difference of two positive numbers is all that is safe to take.
            age: .milliseconds(self.startedAt > 0 && time > self.startedAt ? time - self.startedAt : 0),
            renewals: self.renewals,
            progress: hasProgress ? progress : nil,
            trace: trace.isEmpty ? nil : trace
        )
    }
}

extension LeaseInspection {
    /// Reads the answer of the `inspect` script.
    init(reply: RESPValue) throws(LeaseStoreError) {
        if reply.array?.first?.string == "FOREIGN" { _ = try ScriptReply.checked(reply) }
        guard let fields = reply.array, fields.count == 3, let bytes = fields[0].bytes, let left = fields[1].integer,
            let members = fields[2].array
        else {
            throw LeaseStoreError(.protocolViolation, "unexpected reply to an inspection")
        }
        let waiters = members.compactMap { $0.string.flatMap { InboxID($0) } }
        let lease = LeaseRecord(bytes: bytes).map { record in
            LeaseInspection.Lease(record, keyLife: .milliseconds(left))
        }
        self.init(lease: lease, waiters: waiters)
    }
}

extension LeaseInspection.Lease {
    /// - Parameter keyLife: how long the lease's key has to live: the lease's rest, and the grace.
    init(_ record: LeaseRecord, keyLife: Duration) {
        self.init(
            token: record.token,
            inbox: record.inbox,
            duration: record.duration,
            remaining: keyLife - record.grace,
            attempt: record.attempt,
            note: record.note.leaseNote
        )
    }
}

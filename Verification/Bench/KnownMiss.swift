/// A row of the table that is known to miss its budget by more than twice, or may do so from run to run: a quick run
/// fails only if it gets worse than this.
///
/// Where a row gets better, its bound is to be tightened; once it is within its budget the run asks to remove the
/// entry.
struct KnownMiss {
    /// The row's name.
    let name: String
    /// What a quick run tolerates: about half more than the worst that was seen.
    let bound: Double
    /// What dominates it.
    let reason: String

    static func of(_ row: BenchRow) -> KnownMiss? {
        all.first { $0.name == row.name }
    }

    static let all = [
        KnownMiss(
            name: "local call, .withLeader",
            bound: 3.6,
            reason: "half of it is the task: the task-local that tells re-entrancy, changes of executor, cancellation"
        ),
        KnownMiss(
            name: "flights, 256 keys",
            // 0.28 on two processors, 0.21 on one.
            bound: 0.15,
            reason: "the client's processor time per flight: two tasks, three hand-overs between threads"
        ),
        KnownMiss(
            name: "flights, 256 in flight",
            bound: 0.2,
            reason: "as above; the C reference has one thread, no tasks, no timers and no renewal"
        ),
        KnownMiss(
            name: "wake-up elsewhere, p50",
            bound: 7,
            reason: "four threads are woken one after the other, where the C reference wakes two"
        ),
        KnownMiss(
            name: "wake-up of 20 processes, the last, p50",
            bound: 9,
            reason: "as above, for twenty processes on two processors"
        ),
        KnownMiss(
            name: "first part of a stream elsewhere, p50",
            bound: 6,
            reason: "stored by a script before it is told, and two tasks are woken, where PUBLISH wakes none"
        ),
    ]
}

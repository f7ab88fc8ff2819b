/// A row of the table that misses its budget by more than twice, known and explained: a quick run fails if it gets worse.
///
/// Where a row gets better, its bound is to be tightened, and its entry removed once it is within twice the budget; the
/// full run says so.
struct KnownMiss {
    /// The row's name.
    let name: String
    /// What the row's measure was at worst on a quiet machine, and a third for the machine's moods.
    let bound: Double
    /// What dominates it.
    let reason: String

    static func of(_ row: BenchRow) -> KnownMiss? {
        all.first { $0.name == row.name }
    }

    static let all = [
        KnownMiss(
            name: "local call, .withLeader",
            bound: 6,
            reason: "half of it is the task: changes of executor, the task-local that tells re-entrancy, cancellation"
        ),
        KnownMiss(
            name: "flights, 256 keys",
            bound: 0.15,
            reason: "the client's processor time per flight: two tasks, three hand-overs between threads"
        ),
        KnownMiss(
            name: "flights, 256 in flight",
            bound: 0.15,
            reason: "as above; the C reference has one thread, no tasks, no timers and no renewal"
        ),
        KnownMiss(
            name: "wake-up elsewhere, p50",
            bound: 5,
            reason: "four threads are woken one after the other, where the C reference wakes two"
        ),
        KnownMiss(
            name: "wake-up of 20 processes, the last, p50",
            bound: 16,
            reason: "as above, for twenty processes on two processors"
        ),
    ]
}

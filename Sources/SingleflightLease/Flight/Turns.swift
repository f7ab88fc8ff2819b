/// The effects of transitions, which one thread at a time carries out, outside of the lock: those that come meanwhile,
/// on whichever thread, wait for its next turn, so effects happen in the order of the transitions.
///
/// Lies under the lock with what the transitions change.
struct Turns<Effect: Sendable>: Sendable {
    private var effects = ShortList<Effect>()
    /// Whether a thread carries out effects.
    private(set) var isActing = false

    mutating func append(_ effect: Effect) { self.effects.append(effect) }

    /// The effects to carry out now, unless another thread is at it.
    mutating func take() -> ShortList<Effect> {
        self.isActing ? [] : self.next()
    }

    /// The effects that have come meanwhile; with none of them the thread is done.
    mutating func next() -> ShortList<Effect> {
        self.isActing = !self.effects.isEmpty
        let turn = self.effects
        self.effects = []
        return turn
    }
}

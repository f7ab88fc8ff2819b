/// The limits and times of a group's streams, as their state machines need them.
package struct StreamTerms: Hashable, Sendable {
    /// How long all parts of a stream may be together, as they are stored.
    package var maximumBytes: Int
    /// How much may be on its way to the store before a writer waits.
    package var window: Int
    /// How long a chunk is at most.
    package var chunkBytes: Int
    /// How long chunks are kept from each request of their writer on.
    package var life: Duration
    /// How often a writer that has nothing to store prolongs the life of what is stored.
    package var touchInterval: Duration
    /// How long chunks are kept at least for a reader that is at it.
    package var readerLife: Duration
    /// How often a reader looks that waits and hears nothing.
    package var lookInterval: Duration
    /// How long a reader of an ended stream tries to reach the store.
    package var patience: Duration

    /// The longest chunk: four fit into a window, and it holds up no renewal for long.
    package static let longestChunk = 256 * 1024

    package init(maximumBytes: Int, window: Int, _ terms: FlightTerms) {
        self.maximumBytes = maximumBytes
        self.window = window
        self.chunkBytes = Self.longestChunk
        let kept = max(terms.lease.retention, terms.reuse)
        self.life = terms.lease.duration * 2 + terms.lease.grace + kept
        self.touchInterval = terms.lease.duration
        self.readerLife = terms.lease.retention
        self.lookInterval = terms.lease.duration / 3
        self.patience = max(terms.commandTimeout * 2, .seconds(10))
    }
}

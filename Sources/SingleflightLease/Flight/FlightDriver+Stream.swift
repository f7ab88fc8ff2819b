import Singleflight
import Synchronization

/// Where the parts of a flight's stream are, for readers here.
extension FlightDriver {
    /// Keeps readers up with which run of the operation the flight is now.
    func findSource(_ state: inout State) {
        let source: StreamSource? =
            if let localChunks {
                .here(localChunks)
            } else {
                (state.machine.followedToken ?? (state.machine.isWorking ? state.token : nil)).map { .led($0) }
            }
        guard let source, source != state.streamSource else { return }
        state.streamSource = source
        if !state.streamFeeds.isEmpty, !Planted.bug("new-leader-not-told-to-readers") {
            state.effects.append(.tellSource(source, state.streamFeeds))
        }
    }

    /// Which run of the operation the flight is, as far as that is known.
    package var streamSource: StreamSource? { self.state.withLock { $0.streamSource } }

    /// Announcements may have been lost.
    func newsMissed() {
        for feed in self.state.withLock({ $0.streamFeeds }) { feed.missedNews() }
    }

    /// A chunk is stored.
    ///
    /// - Parameter token: the flight's; `nil` if it is kept in this process.
    func stored(_ chunk: StoredChunk, under token: LeaseToken?) {
        guard let source = token.map({ .led($0) }) ?? self.localChunks.map({ StreamSource.here($0) }) else { return }
        for feed in self.state.withLock({ $0.streamFeeds }) { feed.stored(chunk, in: source) }
    }

    /// So much was written: those who inspect the lease see it, unless the operation has words of its own. No renewal
    /// comes early for it.
    func note(_ soFar: StreamEnd) {
        self.state.withLock { state in
            guard state.reports == 0 else { return }
            state.progress = FlightProgress(message: "\(soFar.parts) parts, \(soFar.bytes) bytes")
        }
    }

    func attach(_ feed: any StreamFeeding) {
        let source = self.state.withLock { state in
            state.streamFeeds.append(feed)
            return state.streamSource
        }
        if let source { feed.reads(source) }
    }

    func detach(_ feed: any StreamFeeding) {
        self.state.withLock { $0.streamFeeds.removeAll { $0 === feed } }
    }
}

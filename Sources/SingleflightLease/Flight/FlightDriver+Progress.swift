import Singleflight
import Synchronization

/// How far a flight's work is, for readers here and elsewhere.
extension FlightDriver: ProgressSource {
    /// The work says how far it is.
    ///
    /// Readers here are told at once. The next renewal, which comes earlier for it, tells the store and other
    /// processes.
    package func report(_ progress: FlightProgress) {
        let progress = progress.shortened
        self.step(.progressed) { state in
            state.progress = progress
            return true
        }
        if Planted.bug("progress-not-told-here") { return }
        self.tell(progress)
    }

    /// Reads how far the leader is from the lease's record, which tells what was announced before this process
    /// listened.
    func readProgress() {
        let known = self.state.withLock { $0.latestReport?.serial }
        self.context.store.send(InspectRequest(key: self.key)) { reply in
            guard case .success(let inspection) = reply, let lease = inspection.lease,
                let progress = lease.note.progress
            else { return }
            // What was announced since is newer than the record, which was read before.
            self.progressed(progress, of: lease.token, unlessAfter: known)
        }
    }

    /// - Parameter known: the latest report's serial when the question was asked that this is the answer to; `nil`
    ///   inside for no report; `nil` for news, which need no question.
    func progressed(_ progress: FlightProgress, of token: LeaseToken, unlessAfter known: UInt64?? = nil) {
        let isNews = self.state.withLock { state in
            let isUnchanged = known.map { $0 == state.latestReport?.serial } ?? true
            let isFollowed = state.machine.followedToken == token || Planted.bug("progress-of-another-flight-told")
            return isFollowed && (isUnchanged || Planted.bug("record-overrides-news"))
        }
        if isNews { self.tell(progress) }
    }

    private func tell(_ progress: FlightProgress) {
        let (serial, feeds) = self.state.withLock { state -> (UInt64, [ProgressFeed]) in
            // The same can come twice, as an announcement and from the lease's record.
            guard state.latestReport?.report != progress else { return (0, []) }
            let serial = (state.latestReport?.serial ?? 0) + 1
            state.latestReport = (serial, progress)
            return (serial, Array(state.feeds.values))
        }
        for feed in feeds {
            feed.offer(progress, serial: serial)
        }
    }

    package func attach(_ feed: ProgressFeed) {
        feed.begin()
        let (latest, isOver, isUnknown) = self.state.withLock { state in
            guard case .none = state.ending else { return (state.latestReport, true, false) }
            state.feeds[ObjectIdentifier(feed)] = feed
            // What was said before this process began to wait is in the lease's record only.
            let isUnknown = state.machine.followedToken != nil && state.latestReport == nil
            return (state.latestReport, false, isUnknown)
        }
        if let latest { feed.offer(latest.report, serial: latest.serial) }
        if isOver { feed.flightEnded() }
        if isUnknown { self.readProgress() }
    }

    package func detach(_ feed: ProgressFeed) {
        _ = self.state.withLock { $0.feeds.removeValue(forKey: ObjectIdentifier(feed)) }
    }
}

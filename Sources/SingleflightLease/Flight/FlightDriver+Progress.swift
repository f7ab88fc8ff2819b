import Singleflight
import Synchronization

/// How far a flight's work is, for readers here and elsewhere.
extension FlightDriver: ProgressSource {
    /// The work says how far it is.
    ///
    /// Readers here are told at once. The next renewal, which comes earlier for it, tells the store and other
    /// processes.
    package func report(_ progress: FlightProgress) {
        var progress = progress.shortened
        self.step(.progressed) { state in
            state.reports += 1
            progress.number = state.reports
            state.progress = progress
            return true
        }
        if Planted.bug("progress-not-told-here") { return }
        self.tell(progress)
    }

    /// Reads how far the leader is from the lease's record, which tells what was announced before this process
    /// listened.
    func readProgress() {
        self.context.store.send(InspectRequest(key: self.key)) { reply in
            guard case .success(let inspection) = reply, let lease = inspection.lease,
                let progress = lease.note.progress
            else { return }
            self.progressed(progress, of: lease.token)
        }
    }

    /// The leader is so far, as was announced or is in the lease's record: these two can overtake one another, and a
    /// renewal that was given up can be carried out late.
    func progressed(_ progress: FlightProgress, of token: LeaseToken) {
        let isNews = self.state.withLock { state in
            let isFollowed = state.machine.followedToken == token || Planted.bug("progress-of-another-flight-told")
            guard isFollowed else { return false }
            let heard = state.heardReport.flatMap { $0.token == token ? $0.number : nil } ?? 0
            guard progress.number == 0 || progress.number > heard || Planted.bug("older-report-told") else {
                return false
            }
            state.heardReport = (token, progress.number)
            return true
        }
        if isNews { self.tell(progress) }
    }

    private func tell(_ progress: FlightProgress) {
        let (serial, feeds) = self.state.withLock { state -> (UInt64, [ProgressFeed]) in
            // The same can come twice where reports have no number.
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

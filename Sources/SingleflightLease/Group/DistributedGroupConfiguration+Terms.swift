extension DistributedGroupConfiguration {
    /// The checked terms of the group's flights.
    func terms(commandTimeout: Duration) throws(DistributedGroupError) -> FlightTerms {
        try self.lease.check(commandTimeout: commandTimeout)
        try self.results.check()
        try self.limits.check()
        var terms = FlightTerms(
            lease: LeaseTerms(
                duration: self.lease.duration,
                grace: self.lease.grace,
                retention: self.results.retention,
                leaderLoss: self.lease.leaderLoss,
                acceptsReuse: self.results.reuse > .zero || self.results.reuseFailures > .zero
            ),
            margin: self.lease.duration / 20,
            maximumFlight: self.limits.flight,
            commandTimeout: commandTimeout,
            reuse: self.results.reuse,
            reuseFailures: self.results.reuseFailures,
            progressInterval: self.limits.progressInterval
        )
        if let refreshAfter = self.results.refreshAfter { terms.refreshWindow = self.results.reuse - refreshAfter }
        terms.leadsAgain = self.lease.onLost == .leadAgain
        terms.outlivesLease = terms.leadsAgain && self.unavailable != .fail
        terms.retain(atLeast: terms.minimumRetention)
        return terms
    }
}

extension DistributedGroupConfiguration.Lease {
    fileprivate func check(commandTimeout: Duration) throws(DistributedGroupError) {
        try require(storable.contains(self.duration), "lease.duration is \(self.duration), not 100 ms to 24 h")
        try require(
            self.duration >= commandTimeout * 3,
            "lease.duration is \(self.duration), less than three times the store's command timeout of \(commandTimeout)"
        )
        try require(storable.contains(self.grace), "lease.grace is \(self.grace), not 100 ms to 24 h")
        if case .takeOver(let attempts) = self.leaderLoss {
            try require(
                (1...999).contains(attempts),
                "lease.leaderLoss is takeOver(attempts: \(attempts)), not 1 to 999"
            )
        }
    }
}

extension DistributedGroupConfiguration.Results {
    fileprivate func check() throws(DistributedGroupError) {
        try require(self.maximumBytes > 0, "results.maximumBytes is \(self.maximumBytes), not positive")
        try require(storable.contains(self.retention), "results.retention is \(self.retention), not 100 ms to 24 h")
        let reusable = Duration.zero...storable.upperBound
        try require(reusable.contains(self.reuse), "results.reuse is \(self.reuse), not 0 to 24 h")
        if let refreshAfter {
            try require(
                refreshAfter > .zero && refreshAfter < self.reuse,
                "results.refreshAfter is \(refreshAfter), not between 0 and results.reuse, which is \(self.reuse)"
            )
        }
        try require(
            reusable.contains(self.reuseFailures),
            "results.reuseFailures is \(self.reuseFailures), not 0 to 24 h"
        )
    }
}

extension DistributedGroupConfiguration.Limits {
    fileprivate func check() throws(DistributedGroupError) {
        try require(self.flight > .zero, "limits.flight is \(self.flight), not positive")
        if let waitersPerKey {
            try require(waitersPerKey > 0, "limits.waitersPerKey is \(waitersPerKey), not positive")
        }
        try require(
            self.progressInterval >= storable.lowerBound,
            "limits.progressInterval is \(self.progressInterval), less than 100 ms"
        )
    }
}

/// What the store may be asked to keep.
private let storable = Duration.milliseconds(100)...Duration.seconds(24 * 3600)

private func require(_ condition: Bool, _ message: @autoclosure () -> String) throws(DistributedGroupError) {
    guard condition else { throw DistributedGroupError(.invalidConfiguration, message()) }
}

#if Configuration
    public import Configuration

    extension DistributedGroupConfiguration {
        /// Reads the durations and rules; what is not there keeps its default. Of the trait `Configuration`.
        ///
        /// Durations are in seconds, fractions included.
        ///
        /// | key | |
        /// |---|---|
        /// | `lease.duration`, `lease.grace` | seconds |
        /// | `lease.takeOver` | how often a lost leader's flight is taken over; 0: never, the flight is canceled |
        /// | `lease.onLost` | `leadAgain` or `cancel` |
        /// | `results.maximumBytes` | bytes |
        /// | `results.retention`, `results.reuse`, `results.refreshAfter`, `results.reuseFailures` | seconds |
        /// | `limits.flight`, `limits.progressInterval` | seconds |
        /// | `limits.waitersPerKey` | callers |
        /// | `unavailable` | `runLocally`, `runLocallyEvenIfRefused` or `fail` |
        /// | `results.undecodable` | `runLocally` or `fail` |
        /// | `mode` | `coalesce` or `observe` |
        ///
        /// - Throws: ``DistributedGroupError`` of the code ``DistributedGroupError/Code/invalidConfiguration`` that
        ///   names the key whose value is not one. Whether values fit together is checked when a group is made.
        public init(config: ConfigReader) throws(DistributedGroupError) {
            self.init()
            let values = ConfiguredValues(config: config)
            do throws(ConfiguredValues.Fault) {
                try values.read("lease.duration", into: &self.lease.duration)
                try values.read("lease.grace", into: &self.lease.grace)
                if let attempts = try values.number("lease.takeOver") {
                    self.lease.leaderLoss = attempts == 0 ? .cancel : .takeOver(attempts: attempts)
                }
                try values.read(
                    "lease.onLost",
                    of: ["leadAgain": .leadAgain, "cancel": .cancel],
                    into: &self.lease.onLost
                )
                if let bytes = try values.number("results.maximumBytes") {
                    self.results.maximumBytes = bytes
                }
                try values.read("results.retention", into: &self.results.retention)
                try values.read("results.reuse", into: &self.results.reuse)
                var refreshAfter = Duration.zero
                try values.read("results.refreshAfter", into: &refreshAfter)
                if refreshAfter != .zero { self.results.refreshAfter = refreshAfter }
                try values.read("results.reuseFailures", into: &self.results.reuseFailures)
                try values.read("limits.flight", into: &self.limits.flight)
                try values.read("limits.progressInterval", into: &self.limits.progressInterval)
                if let waiters = try values.number("limits.waitersPerKey") {
                    self.limits.waitersPerKey = waiters
                }
                try values.read(
                    "unavailable",
                    of: [
                        "runLocally": .runLocally, "runLocallyEvenIfRefused": .runLocallyEvenIfRefused, "fail": .fail,
                    ],
                    into: &self.unavailable
                )
                try values.read(
                    "results.undecodable",
                    of: ["runLocally": .runLocally, "fail": .fail],
                    into: &self.results.undecodable
                )
                try values.read("mode", of: ["coalesce": .coalesce, "observe": .observe], into: &self.mode)
            } catch {
                throw DistributedGroupError(.invalidConfiguration, error.message)
            }
        }
    }
#endif

import HiredisClient
package import SingleflightLease

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension RedisLeaseStore {
    /// How many runs are kept of a key.
    private static let keptRuns: Int64 = 20
    /// For how long after the last of them, in ms: 31 days, so that a monthly job has a history.
    private static let keptTime: Int64 = 31 * 86_400_000
    /// A label and a reason have their place in a list for people, not more.
    private static let longestText = 200

    private static let script = RedisScript("#!lua\n" + String(decoding: PackageResources.record_lua, as: UTF8.self))

    /// Puts a run that is over in front of the last runs of `key`.
    ///
    /// - Throws: ``LeaseStoreError``; what it was about has ended all the same.
    package func record(_ run: RunRecord, of key: FlightKey) async throws(LeaseStoreError) {
        var run = run
        run.label = String(run.label.prefix(Self.longestText))
        run.reason = run.reason.map { String($0.prefix(Self.longestText)) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let json = try? encoder.encode(run) else {
            throw LeaseStoreError(.invalidRequest, "the run cannot be written as JSON")
        }
        try await self.record(Array(json), key)
    }

    /// Counts somebody who came while `key` was led, and did not wait.
    ///
    /// - Throws: ``LeaseStoreError``.
    package func recordSkip(of key: FlightKey) async throws(LeaseStoreError) {
        try await self.record([], key)
    }

    private func record(_ run: [UInt8], _ key: FlightKey) async throws(LeaseStoreError) {
        do {
            let names = self.keyspace.names(of: key)
            _ = try await self.client.evaluate(
                Self.script,
                keys: [names.runs],
                arguments: [.bytes(run), .integer(Self.keptRuns), .integer(Self.keptTime)],
                order: names.place
            )
        } catch {
            throw LeaseStoreError(error)
        }
    }

    /// The last runs of `key`; none if nobody recorded any.
    ///
    /// - Throws: ``LeaseStoreError``.
    package func lastRuns(of key: FlightKey) async throws(LeaseStoreError) -> LastRuns {
        let names = self.keyspace.names(of: key)
        let replies = try await self.execute([RedisCommand("GET", names.runs)], at: names.place)
        return replies[0].string.map(LastRuns.init) ?? LastRuns()
    }
}

extension LastRuns {
    /// Lines that this version does not understand are left out.
    package init(_ text: String) {
        self.init()
        var lines = text.split(separator: "\n")
        guard let first = lines.first else { return }
        skips = Int(first) ?? 0
        lines.removeFirst()
        runs = lines.compactMap { line in
            let parts = line.split(separator: " ", maxSplits: 1)
            guard parts.count == 2, let skips = Int(parts[0]),
                let record = try? JSONDecoder().decode(RunRecord.self, from: Data(parts[1].utf8))
            else { return nil }
            return Run(record: record, skips: skips)
        }
    }
}

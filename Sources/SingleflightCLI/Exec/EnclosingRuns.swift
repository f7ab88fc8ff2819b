import Foundation
import SingleflightRedis

/// The runs that this process is part of: their commands started it, directly or through others. They are told in the
/// environment.
struct EnclosingRuns: Sendable {
    /// `<token>:<group>:<key in hexadecimal>` of each run, with a space between, the innermost first.
    static let variable = "SINGLEFLIGHT_ENCLOSING"

    static var current: EnclosingRuns { EnclosingRuns(environment: ProcessInfo.processInfo.environment) }

    /// One entry for each run.
    private(set) var flights: [Substring]

    init(environment: [String: String]) {
        flights = (environment[Self.variable] ?? "").split(separator: " ")
    }

    /// What the command of another run inside of these is told.
    func value(inside key: FlightKey, token: LeaseToken) -> String {
        let digits = key.bytes.map(\.hexadecimal)
        return (["\(token):\(key.group):\(digits.joined())"] + flights).joined(separator: " ")
    }

    /// A process that is part of the run which it would wait for is refused.
    ///
    /// - Parameter name: how people know the key.
    /// - Throws: ``CommandFailure`` if the flight of `key` that runs is one of these.
    func checkFollowing(_ key: FlightKey, named name: String, on store: RedisLeaseStore) async throws {
        guard !flights.isEmpty, let lease = try await store.runningLease(of: key),
            flights.contains(where: { $0.hasPrefix("\(lease.token):") })
        else { return }
        throw CommandFailure("this is part of the run of \(name): it would wait for itself", status: .usage)
    }
}

extension RedisLeaseStore {
    /// The lease of a flight that runs; nil where the leader was lost and nobody has taken over.
    func runningLease(of key: FlightKey) async throws -> LeaseInspection.Lease? {
        try await answer(to: InspectRequest(key: key)).get().lease.flatMap { $0.isExpired ? nil : $0 }
    }
}

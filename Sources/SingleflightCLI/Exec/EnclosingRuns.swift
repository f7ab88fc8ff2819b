import Foundation
import SingleflightRedis

/// The runs that this process is part of: their commands started it, directly or through others. They are told in the
/// environment.
struct EnclosingRuns: Sendable {
    /// `<token>:<group>:<key in hexadecimal>` of each run, with a space between, the innermost first.
    static let variable = "SINGLEFLIGHT_ENCLOSING"

    static var current: EnclosingRuns { EnclosingRuns(environment: ProcessInfo.processInfo.environment) }

    private(set) var flights: [EnclosingFlight]

    /// What cannot be read is left out: somebody else's variable must not keep a command from running.
    init(environment: [String: String]) {
        flights = (environment[Self.variable] ?? "").split(separator: " ").compactMap { run in
            let parts = run.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 3, let token = LeaseToken(parts[0]), let bytes = [UInt8](hexadecimal: parts[2]),
                let key = try? FlightKey(group: String(parts[1]), bytes: bytes)
            else { return nil }
            return EnclosingFlight(key: key, token: token)
        }
    }

    /// What the command of another run inside of these is told.
    func value(inside key: FlightKey, token: LeaseToken) -> String {
        ([EnclosingFlight(key: key, token: token)] + flights).map { flight in
            "\(flight.token):\(flight.key.group):\(flight.key.bytes.map(\.hexadecimal).joined())"
        }.joined(separator: " ")
    }

    /// A process that is part of the run which it would wait for is refused.
    ///
    /// - Parameter name: how people know the key.
    /// - Throws: ``CommandFailure`` if the flight of `key` that runs is one of these.
    func checkFollowing(_ key: FlightKey, named name: String, on store: RedisLeaseStore) async throws {
        guard !flights.isEmpty, let lease = try await store.runningLease(of: key) else { return }
        if flights.contains(where: { $0.token == lease.token }) { throw Self.circle([], key: name) }
    }

    /// What a call that was canceled for this reason is told, if it would have waited for what waits for it.
    static func circle(_ reason: Cancellation, key: String) -> CommandFailure? {
        guard let error = reason.underlying as? GroupError, error.code == .reentrantCall else { return nil }
        return circle(Array(error.path.dropFirst()), key: key)
    }

    /// - Parameter path: the keys on the way from the flight of `key` to the run that this process is part of; none if
    ///   that is the same.
    private static func circle(_ path: [String], key: String) -> CommandFailure {
        let way = path.joined(separator: ", which waits for ")
        let message =
            path.isEmpty
            ? "this is part of the run of \(key): it would wait for itself"
            : "this is part of a run that \(key) waits for: it would wait for \(way)"
        return CommandFailure(message, status: .usage)
    }
}

extension RedisLeaseStore {
    /// The lease of a flight that runs; nil where the leader was lost and nobody has taken over.
    func runningLease(of key: FlightKey) async throws -> LeaseInspection.Lease? {
        try await answer(to: InspectRequest(key: key)).get().lease.flatMap { $0.isExpired ? nil : $0 }
    }
}

extension [UInt8] {
    fileprivate init?(hexadecimal text: Substring) {
        guard text.utf8.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        var rest = text[...]
        while !rest.isEmpty {
            guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        self = bytes
    }
}

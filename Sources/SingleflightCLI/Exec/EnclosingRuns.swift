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
        let digits = key.bytes.map { String($0 >> 4, radix: 16) + String($0 & 0xF, radix: 16) }
        return (["\(token):\(key.group):\(digits.joined())"] + flights).joined(separator: " ")
    }

    /// - Throws: ``CommandFailure`` if the flight of `token` is one of them.
    func checkFollowing(_ token: LeaseToken, key: String) throws {
        guard flights.contains(where: { $0.hasPrefix("\(token):") }) else { return }
        throw CommandFailure("this is part of the run of \(key): it would wait for itself", status: .usage)
    }

    /// - Throws: ``CommandFailure`` if the flight of `key` that runs is one of them.
    func checkFollowing(_ key: RunKey, in group: String, on store: RedisLeaseStore) async throws {
        guard !flights.isEmpty else { return }
        let request = InspectRequest(key: try FlightKey(group: group, bytes: key.bytes))
        guard let lease = try await store.answer(to: request).get().lease, !lease.isExpired else { return }
        try checkFollowing(lease.token, key: ShellWord.quoted(ByteText.text(key.bytes)))
    }
}

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
            let digits = flight.key.bytes.map { String($0 >> 4, radix: 16) + String($0 & 0xF, radix: 16) }
            return "\(flight.token):\(flight.key.group):\(digits.joined())"
        }.joined(separator: " ")
    }

    /// - Throws: ``CommandFailure`` if the flight of `token` is one of them.
    func checkFollowing(_ token: LeaseToken, key: String) throws {
        guard flights.contains(where: { $0.token == token }) else { return }
        throw CommandFailure("this is part of the run of \(key): it would wait for itself", status: .usage)
    }

    /// - Throws: ``CommandFailure`` if the flight of `key` that runs is one of them, or waits for one of them.
    func checkFollowing(_ key: RunKey, in group: String, on store: RedisLeaseStore) async throws {
        guard !flights.isEmpty else { return }
        let flightKey = try FlightKey(group: group, bytes: key.bytes)
        guard let lease = try await store.answer(to: InspectRequest(key: flightKey)).get().lease, !lease.isExpired
        else { return }
        let shown = ShellWord.quoted(ByteText.text(key.bytes))
        try checkFollowing(lease.token, key: shown)
        let request = DependRequest(key: flightKey, token: lease.token, enclosing: flights)
        // Where the store cannot tell, it is waited for as any other.
        guard case .success(.circular(let path)) = await store.answer(to: request) else { return }
        throw Self.circle(path, key: shown)
    }

    /// - Parameter path: the keys on the way from the flight of `key` to one of these.
    static func circle(_ path: [String], key: String) -> CommandFailure {
        let way = path.map { SafeText.escape($0) }.joined(separator: ", which waits for ")
        return CommandFailure(
            "this is part of a run that \(key) waits for: it would wait for \(way)",
            status: .usage
        )
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

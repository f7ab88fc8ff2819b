import SingleflightRedis

/// The runs that this process is part of: their commands started it, directly or through others. They are told in the environment.
struct EnclosingRuns: Sendable {
    /// `<token>:<group>:<key in hexadecimal>` of each run, with a space between, the innermost first.
    static let variable = "SINGLEFLIGHT_ENCLOSING"

    private(set) var flights: [EnclosingFlight]

    /// What cannot be read is left out: somebody else's variable must not keep a command from running.
    init(environment: [String: String]) {
        self.flights = (environment[Self.variable] ?? "").split(separator: " ").compactMap { run in
            let parts = run.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 3, let token = LeaseToken(parts[0]), let bytes = [UInt8](hexadecimal: parts[2]),
                let key = try? FlightKey(group: String(parts[1]), bytes: bytes)
            else { return nil }
            return EnclosingFlight(key: key, token: token)
        }
    }

    /// What the command of another run inside of these is told.
    func value(inside key: FlightKey, token: LeaseToken) -> String {
        ([EnclosingFlight(key: key, token: token)] + self.flights).prefix(DependRequest.maximumDepth).map { flight in
            let hexadecimal = flight.key.bytes.map { String($0 >> 4, radix: 16) + String($0 & 0xF, radix: 16) }
            return "\(flight.token):\(flight.key.group):\(hexadecimal.joined())"
        }.joined(separator: " ")
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

/// A store whose flights are waited for on behalf of other runs: it finds out whether those are waited for in turn.
final class EnclosedLeaseStore: LeaseStore {
    private let store: any LeaseStore
    private let enclosing: EnclosingRuns
    private let onCircle: @Sendable (_ path: [String]) -> Void

    /// - Parameter onCircle: called when the flight that is waited for waits for one of the enclosing runs, with the keys on the way.
    init(_ store: any LeaseStore, enclosing: EnclosingRuns, onCircle: @escaping @Sendable (_ path: [String]) -> Void) {
        self.store = store
        self.enclosing = enclosing
        self.onCircle = onCircle
    }

    var clock: any LeaseClock { self.store.clock }
    var commandTimeout: Duration { self.store.commandTimeout }
    var inbox: InboxID { self.store.inbox }
    var label: String { self.store.label }

    func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        self.store.listen(for: key, handler)
    }

    func send(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        self.store.send(request) { answer in
            switch answer {
            case .success(.enter(.follow(let token, _))), .success(.poll(.superseded(by: let token))):
                self.depend(on: request.key, token)
            default:
                break
            }
            reply(answer)
        }
    }

    private func depend(on key: FlightKey, _ token: LeaseToken) {
        guard !self.enclosing.flights.isEmpty else { return }
        let request = DependRequest(key: key, token: token, enclosing: self.enclosing.flights)
        self.store.send(request) { answer in
            // Where the store cannot tell, the run waits as any other.
            if case .success(.circular(let path)) = answer { self.onCircle(path) }
        }
    }
}

import Singleflight
import Synchronization

/// Work that calls are part of: of a flight that this process leads, or one that another process leads.
package protocol EnclosingWork: AnyObject, Sendable {
    /// The flight, as the store knows it; `nil` if it has no lease.
    var enclosing: EnclosingFlight? { get }
}

/// A call that is part of other flights' work: should what it waits for wait for one of them, it is refused.
final class EnclosedCall: Sendable {
    /// The innermost first.
    private let work: [any EnclosingWork]
    private let known = Mutex<GroupError?>(nil)

    /// `nil` if the code on the path is part of nothing that the store knows.
    init?(on path: FlightPath) {
        let work = path.flights.compactMap { $0.owner as? any EnclosingWork }
        guard !work.isEmpty else { return nil }
        self.work = work
    }

    /// The flights that have a lease just now, the innermost first.
    var enclosing: [EnclosingFlight] { self.work.compactMap(\.enclosing) }

    /// Why the call must not wait, once that is known.
    var refusal: GroupError? { self.known.withLock { $0 } }

    func refuse(_ error: GroupError) {
        self.known.withLock { $0 = $0 ?? error }
    }
}

/// Circles across processes: for each call that is part of other flights' work the store is asked whether the flight
/// that it waits for waits for one of those.
///
/// It is asked once it is known who leads, and again with each poll that finds the flight running: a flight in the
/// circle may have got another lease, and with it another token. Calls that are part of nothing cost nothing, nor do
/// those whose own operation runs: what that waits for is waited for on behalf of the call's flights, too.
extension FlightDriver {
    /// A call that waits for this flight, and what is to happen if it must not.
    struct Enclosed: Sendable {
        var call: EnclosedCall
        /// Whether its operation runs if this process leads.
        var isStarter: Bool
        var onRefusal: @Sendable () -> Void
    }

    /// The call waits for this flight until ``forget(_:)``.
    ///
    /// - Parameter onRefusal: called, perhaps more than once, when the call's refusal is known.
    func watch(_ call: EnclosedCall, isStarter: Bool, onRefusal: @escaping @Sendable () -> Void) {
        let enclosed = Enclosed(call: call, isStarter: isStarter, onRefusal: onRefusal)
        let token = self.state.withLock { state in
            state.enclosed[ObjectIdentifier(call)] = enclosed
            return state.token(for: enclosed)
        }
        if let token { self.ask(token, for: enclosed) }
    }

    func forget(_ call: EnclosedCall) {
        // Handed out: what it holds must not be let go of under the lock.
        _ = self.state.withLock { $0.enclosed.removeValue(forKey: ObjectIdentifier(call)) }
    }

    /// Asks for those whose flight is known since the event.
    ///
    /// - Parameter before: the flight that was waited for before the event.
    func askForCircles(after event: FlightEvent, _ before: LeaseToken?, _ state: inout State) {
        let isConfirmed = if case .replied(.success(.poll(.running)), _) = event { true } else { false }
        guard isConfirmed || state.awaitedToken != before else { return }
        for enclosed in state.enclosed.values {
            if let token = state.token(for: enclosed) { state.effects.append(.askForCircle(token, enclosed)) }
        }
    }

    /// Asks whether the flight of the token waits for what the call is part of.
    func ask(_ token: LeaseToken, for enclosed: Enclosed) {
        let flights = enclosed.call.enclosing
        guard !flights.isEmpty else { return }
        let request = DependRequest(key: self.key, token: token, enclosing: flights)
        self.context.store.send(request) { (reply: Result<DependReply, LeaseStoreError>) in
            // Where the store cannot tell, the call waits as any other.
            guard case .success(.circular(let path)) = reply else { return }
            enclosed.call.refuse(self.refusal(path))
            enclosed.onRefusal()
        }
    }

    /// - Parameter path: the keys from this flight's to that of the work which the call is part of.
    private func refusal(_ path: [String]) -> GroupError {
        let own = self.key.group + ":"
        let names = path.map { $0.hasPrefix(own) ? String($0.dropFirst(own.count)) : $0 }
        return GroupError(.reentrantCall, key: self.key.text, path: names.count > 1 ? names.suffix(1) + names : [])
    }
}

extension FlightDriver.State {
    /// The flight that callers wait for, once it is known who leads.
    var awaitedToken: LeaseToken? {
        self.machine.followedToken ?? (self.machine.isWorking ? self.token : nil)
    }

    /// The flight that the store is to be asked about for the call.
    fileprivate func token(for enclosed: FlightDriver.Enclosed) -> LeaseToken? {
        enclosed.isStarter ? self.machine.followedToken : self.awaitedToken
    }
}

extension FlightDriver: EnclosingWork {
    package var enclosing: EnclosingFlight? {
        guard case .leased = self.kind else { return nil }
        let token = self.state.withLock { $0.machine.isWorking ? $0.token : nil }
        return token.map { EnclosingFlight(key: self.key, token: $0) }
    }
}

/// A flight that another process leads, whose work this process is part of.
private final class ForeignWork: EnclosingWork {
    let flight: EnclosingFlight

    init(_ flight: EnclosingFlight) {
        self.flight = flight
    }

    var enclosing: EnclosingFlight? { self.flight }
}

/// Runs something as part of the work of flights that other processes lead: inside of it, waiting for a flight that
/// waits for one of them is refused.
///
/// - Parameter flights: the innermost first.
package func withEnclosing<T>(
    _ flights: [EnclosingFlight],
    _ body: () async throws -> T
) async rethrows -> T {
    let path = flights.reversed().reduce(FlightPath.current) { outer, flight in
        FlightPath(
            shard: ShardNumber.next(),
            flight: FlightID(slot: 0, serial: 0),
            outer: outer,
            owner: ForeignWork(flight)
        )
    }
    return try await FlightPath.local.withValue(path, operation: body)
}

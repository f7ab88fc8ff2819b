/// What a process may hold at the store without knowing it: the leases of requests to lead that remained in doubt.
///
/// Mostly none or one. It is more than one where leaders handed over while requests were in doubt, so that the process
/// asked again before the lease of an earlier request could have run out.
package struct Debts: Sendable {
    /// In the order of the requests.
    private(set) var all: [HandingBack.Debt] = []

    package init() {}

    /// A request that remained in doubt, beside what was known of it before. It is the last one then.
    ///
    /// - Parameter now: leases that have run out by then are forgotten.
    mutating func add(_ debt: HandingBack.Debt?, now: LeaseInstant? = nil) {
        guard var debt else { return }
        if let known = self[debt.token], !Planted.bug("repetition-of-a-request-forgotten") {
            debt.validUntil = max(debt.validUntil, known.validUntil)
            debt.endsAt = max(debt.endsAt, known.endsAt)
            debt.isRepeated = debt.isRepeated || known.isRepeated
            debt.hasRun = debt.hasRun || known.hasRun
        }
        self.all.removeAll { other in other.token == debt.token || now.map { other.endsAt <= $0 } ?? false }
        if Planted.bug("only-the-latest-request-in-doubt") { self.all = [] }
        self.all.append(debt)
    }

    mutating func add(_ others: Debts, now: LeaseInstant) {
        for debt in others.all { self.add(debt, now: now) }
    }

    func adding(_ debt: HandingBack.Debt?, now: LeaseInstant) -> Debts {
        var debts = self
        debts.add(debt, now: now)
        return debts
    }

    subscript(token: LeaseToken) -> HandingBack.Debt? { self.all.first { $0.token == token } }

    /// The same debts, after an operation has begun under `token`.
    func after(running token: LeaseToken) -> Debts {
        guard !self.all.isEmpty else { return self }
        var debts = self
        debts.all = self.all.map { $0.after(running: token) }
        return debts
    }
}

/// Hands back everything that a flight may hold when its callers have been told.
///
/// A value without I/O: each debt has a machine of its own, and they share the flight's one timer.
struct HandingBackAll: Sendable {
    private struct Part: Sendable {
        var machine: HandingBack
        var token: LeaseToken
        var wakeAt: LeaseInstant?
    }

    private var parts: [Part]

    /// - Parameter isReleasing: whether a release of the last debt was asked for already.
    init(_ debts: Debts, isReleasing: Bool, commandTimeout: Duration) {
        self.parts = debts.all.enumerated().map { number, debt in
            let isLast = number == debts.all.count - 1
            return Part(
                machine: HandingBack(debt, isReleasing: isReleasing && isLast, commandTimeout: commandTimeout),
                token: debt.token
            )
        }
    }

    var isFinal: Bool { self.parts.allSatisfy(\.machine.isFinal) }

    /// The first actions. To be called once.
    mutating func start() -> FlightActions {
        self.collect { $0.machine.start() }
    }

    mutating func handle(
        _ event: FlightEvent,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        let isOnly = self.parts.count == 1
        return self.collect { part in
            switch event {
            case .replied(_, let request) where request.token != part.token: return []
            case .timer where !isOnly && part.wakeAt.map({ $0 > now }) ?? true: return []
            default: break
            }
            if case .timer = event { part.wakeAt = nil }
            return part.machine.handle(event, now: now, using: &generator)
        }
    }

    /// What all parts want done; of their wake-ups the earliest.
    private mutating func collect(_ step: (inout Part) -> FlightActions) -> FlightActions {
        var actions: FlightActions = []
        for index in self.parts.indices {
            for action in step(&self.parts[index]) {
                if case .wake(let deadline) = action {
                    self.parts[index].wakeAt = deadline
                } else {
                    actions.append(action)
                }
            }
            if self.parts[index].machine.isFinal { self.parts[index].wakeAt = nil }
        }
        if let earliest = self.parts.compactMap(\.wakeAt).min() { actions.append(.wake(at: earliest)) }
        return actions
    }
}

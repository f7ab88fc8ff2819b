import SingleflightLease
import SingleflightTestKit

/// What a store holds about one key after some of a history's requests, and when what it holds runs out.
///
/// The rules are ``LeaseModel``'s; its clock stands still. That a lease runs out, or that it or an outcome is
/// forgotten, is a step of its own, which can be taken as soon as it may have happened and must be as soon as it must
/// have: when exactly a request was carried out is known only within a window. So what depends on time is judged as
/// exactly as time is known, and everything else exactly.
struct HistoryState {
    struct Identity: Hashable {
        var summary: LeaseModel.Summary
        var clock: Int64
        var expiry: HistoryWindow?
        var grace: Int64
        var keptUntil: [LeaseToken: HistoryWindow]
        var reuseUntil: HistoryWindow?
        var lastFence: UInt64
    }

    /// Redis counts in milliseconds, and drops what has run out when it looks at it.
    private static let tolerance: Int64 = 5_000_000
    /// With more processes that wait than this, none of them is thought dead.
    private static let maximumDeaths = 6
    private static let key = FlightKey(checkedGroup: "history", bytes: [])
    private static let now = LeaseInstant(sinceOrigin: .zero)

    private var model = LeaseModel()
    /// No later request was carried out before.
    private(set) var clock = Int64.min
    /// When the lease runs out; it may be known to have done so, and not be forgotten.
    private var expiry: HistoryWindow?
    private var grace: Int64 = 0
    private var keptUntil: [LeaseToken: HistoryWindow] = [:]
    private var reuseUntil: HistoryWindow?
    private var lastFence: UInt64 = 0
    /// Whether another flight of the process that asks waits for the key.
    private var isAwaited = false

    var identity: Identity {
        Identity(
            summary: self.summary,
            clock: self.clock,
            expiry: self.expiry,
            grace: self.grace,
            keptUntil: self.keptUntil,
            reuseUntil: self.reuseUntil,
            lastFence: self.lastFence
        )
    }

    private var summary: LeaseModel.Summary { self.model.summary(of: Self.key, now: Self.now) }

    /// The states in which `operation`, carried out within `window`, can leave this one, answered as it was.
    func successors(of operation: HistoryOperation, within window: HistoryWindow) -> [HistoryState] {
        self.carryingOut(operation, within: window) + self.unsent(operation, within: window)
            + self.unheard(by: operation).flatMap { $0.carryingOut(operation, within: window) }
    }

    private func carryingOut(_ operation: HistoryOperation, within window: HistoryWindow) -> [HistoryState] {
        let before = self.summary
        return self.aged(before, for: operation, within: window).compactMap { aged in
            var next = aged.state
            guard next.carryOut(operation, within: aged.window) else { return nil }
            // An open request that changes nothing is as good as one that was never carried out.
            if operation.record.isOpen, next.identity == aged.state.identity { return nil }
            next.clock = max(self.clock, aged.window.earliest)
            next.isAwaited = false
            for waiter in before.waiters { next.model.setHeard(waiter.inbox, true) }
            return next
        }
    }

    /// What a store knows of the processes that wait is not recorded. Those that died, or are not connected, are
    /// struck, up to the first that is. And a request that takes over, or is taken back, leaves its process registered
    /// while another of its flights waits.
    private func unheard(by operation: HistoryOperation) -> [HistoryState] {
        switch operation.record.request {
        case .release(_, "withdraw"), .enter:
            var state = self
            state.isAwaited = true
            return [state]
        case .renew(_, _, isAbandoned: true), .release(_, "unlessAwaited"):
            let waiters = self.summary.waiters.map(\.inbox)
            guard waiters.count <= Self.maximumDeaths else { return [] }
            return (1..<1 << waiters.count).map { bits in
                var state = self
                for (index, waiter) in waiters.enumerated() where bits & 1 << index != 0 {
                    state.model.setHeard(waiter, false)
                }
                return state
            }
        default:
            return []
        }
    }

    /// A store does not send `leave` while another flight of its process waits for the key.
    private func unsent(_ operation: HistoryOperation, within window: HistoryWindow) -> [HistoryState] {
        guard case .leave = operation.record.request, operation.record.reply == .left(waiters: 1) else { return [] }
        var next = self
        next.clock = max(self.clock, window.earliest)
        return [next]
    }

    /// The states in which this one can be left by the loss of one thing, at `time` or later.
    func losing(from time: Int64) -> [HistoryState] {
        let held = self.summary
        var losses: [(inout LeaseModel) -> Void] = []
        if held.token != nil { losses.append { $0.loseLease(of: Self.key) } }
        if !held.waiters.isEmpty { losses.append { $0.loseWaiters(of: Self.key) } }
        if held.last != nil { losses.append { $0.forgetReuse(of: Self.key) } }
        for token in held.kept.keys { losses.append { $0.forgetOutcome(of: Self.key, token: token) } }
        var all = losses.map { lose in
            var next = self
            lose(&next.model)
            next.clock = max(self.clock, time)
            let left = next.summary
            if left.token == nil { next.expiry = nil }
            if left.last == nil { next.reuseUntil = nil }
            next.keptUntil = self.keptUntil.filter { left.kept[$0.key] != nil }
            return next
        }
        // The fences begin anew.
        if self.lastFence > 0 {
            var next = self
            next.lastFence = 0
            next.clock = max(self.clock, time)
            all.append(next)
        }
        return all
    }

    // MARK: - The passing of time

    private struct Aged {
        var state: HistoryState
        var window: HistoryWindow

        /// The same, as far as it can be at or after (before) `time`.
        func from(_ time: Int64, _ change: (inout HistoryState) -> Void = { _ in }) -> Aged? {
            var aged = self
            aged.window.earliest = max(aged.window.earliest, time.clampedSum(-HistoryState.tolerance))
            change(&aged.state)
            return aged.window.earliest <= aged.window.latest ? aged : nil
        }

        func until(_ time: Int64) -> Aged? {
            var aged = self
            aged.window.latest = min(aged.window.latest, time.clampedSum(HistoryState.tolerance))
            return aged.window.earliest <= aged.window.latest ? aged : nil
        }
    }

    /// What may have run out by the time of `operation`.
    private func aged(
        _ summary: LeaseModel.Summary,
        for operation: HistoryOperation,
        within window: HistoryWindow
    ) -> [Aged] {
        var all = self.agedLease(summary, Aged(state: self, window: window))
        // Only what the request can be answered with needs to be looked at.
        for token in Set([operation.token, summary.last].compactMap { $0 }) {
            guard let until = self.keptUntil[token] else { continue }
            all = all.flatMap { aged in
                [
                    aged.until(until.latest),
                    aged.from(until.earliest) { state in
                        state.model.forgetOutcome(of: Self.key, token: token)
                        state.keptUntil[token] = nil
                    },
                ].compactMap { $0 }
            }
        }
        if let until = self.reuseUntil {
            all = all.flatMap { aged in
                [
                    aged.until(until.latest),
                    aged.from(until.earliest) { state in
                        state.model.forgetReuse(of: Self.key)
                        state.reuseUntil = nil
                    },
                ].compactMap { $0 }
            }
        }
        return all
    }

    private func agedLease(_ summary: LeaseModel.Summary, _ aged: Aged) -> [Aged] {
        guard summary.token != nil, let expiry = self.expiry else { return [aged] }
        let forgotten = aged.from(expiry.earliest.clampedSum(self.grace)) { state in
            state.model.forgetLease(of: Self.key)
            state.expiry = nil
        }
        if summary.isLapsed {
            return [aged.until(expiry.latest.clampedSum(self.grace)), forgotten].compactMap { $0 }
        }
        var alive = aged.until(expiry.latest)
        if let earliest = alive?.window.earliest {
            alive?.state.expiry?.earliest = max(expiry.earliest, earliest.clampedSum(-Self.tolerance))
        }
        let lapsed = aged.until(expiry.latest.clampedSum(self.grace))?.from(expiry.earliest) { state in
            state.model.lapseLease(of: Self.key, now: Self.now)
            state.expiry?.latest = min(expiry.latest, aged.window.latest.clampedSum(Self.tolerance))
        }
        return [alive, lapsed, forgotten].compactMap { $0 }
    }

    // MARK: - Requests

    /// Carries a request out; false if it would have been answered otherwise.
    private mutating func carryOut(_ operation: HistoryOperation, within window: HistoryWindow) -> Bool {
        let record = operation.record
        // A request that came too late changed nothing, whenever that was.
        if case .late? = record.reply { return true }
        let before = self.summary
        guard let answer = self.answer(operation) else { return false }
        if !record.isOpen, let reply = record.reply, !self.explains(answer, reply, window) { return false }
        self.note(operation, from: before, to: self.summary, answer, window)
        return true
    }

    private mutating func answer(_ operation: HistoryOperation) -> HistoryReply? {
        let (key, now) = (Self.key, Self.now)
        defer { _ = self.model.takeDeliveries() }
        guard let token = operation.token else {
            guard case .revoke(_, let by, let reason) = operation.record.request else { return nil }
            return self.revoke(nil, by, reason)
        }
        switch operation.record.request {
        case .enter(_, let terms, let isRepetition):
            let note = LeaseNote(label: "")
            var terms = terms
            // How long an outcome is kept yet is not followed so closely: what was given was old enough, and what was not
            // was too old.
            if terms.leastLife > 0, !operation.record.isReuse { terms.acceptsReuse = false }
            let request = EnterRequest(
                key: key,
                token: token,
                terms: terms.leaseTerms,
                note: note,
                validity: .zero,
                isRepetition: isRepetition
            )
            return HistoryReply(self.model.enter(request, inbox: operation.inbox, now: now, isAwaited: self.isAwaited))
        case .renew(_, let terms, let isAbandoned):
            let request = RenewRequest(
                key: key,
                token: token,
                terms: terms.leaseTerms,
                note: LeaseNote(label: ""),
                isAbandoned: isAbandoned
            )
            return HistoryReply(self.model.renew(request, now: now))
        case .complete(_, let outcome, let reuse, let keepsEarlier):
            let request = CompleteRequest(
                key: key,
                token: token,
                outcome: outcome.storedOutcome,
                reuse: .nanoseconds(reuse),
                keepsEarlier: keepsEarlier
            )
            return HistoryReply(self.model.complete(request, now: now))
        case .release(_, let mode):
            guard let mode = ReleaseRequest.Mode(historyName: mode) else { return nil }
            let request = ReleaseRequest(key: key, token: token, mode: mode)
            return HistoryReply(self.model.release(request, inbox: self.isAwaited ? nil : operation.inbox, now: now))
        case .poll(_, let mayEnd):
            let request = PollRequest(key: key, token: token, mayEnd: mayEnd)
            return HistoryReply(self.model.poll(request, inbox: operation.inbox, now: now))
        case .leave:
            return HistoryReply(self.model.leave(key, token: token, inbox: operation.inbox, now: now))
        case .fence:
            return HistoryReply(self.model.fence(key, token: token, now: now))
        case .revoke(_, let by, let reason):
            return self.revoke(token, by, reason)
        case .heard(_, let outcome):
            let isDecided = self.summary.kept[token] == .outcome(outcome.storedOutcome)
            return isDecided ? .heard : nil
        }
    }

    private mutating func revoke(
        _ token: LeaseToken?,
        _ by: String,
        _ reason: String
    ) -> HistoryReply {
        let request = RevokeRequest(key: Self.key, token: token, by: by, reason: reason)
        return HistoryReply(self.model.revoke(request, now: Self.now))
    }

    /// Whether the answer that was recorded is the model's. What it says of the time left narrows down when the lease
    /// runs out.
    private mutating func explains(_ answer: HistoryReply, _ recorded: HistoryReply, _ window: HistoryWindow) -> Bool {
        switch (answer, recorded) {
        case (.follow(let token, _), .follow(let recordedToken, let remaining)):
            return token == recordedToken && self.runsOut(in: remaining, after: window)
        case (.running, .running(let remaining)):
            return self.runsOut(in: remaining, after: window)
        case (.drawn, .drawn(let fence)):
            // The model's counter is its own; what counts is that it grows.
            guard fence > self.lastFence else { return false }
            self.lastFence = fence
            return true
        default:
            return answer == recorded
        }
    }

    private mutating func runsOut(in remaining: Int64, after window: HistoryWindow) -> Bool {
        let end = HistoryWindow(
            earliest: window.earliest.clampedSum(remaining - Self.tolerance),
            latest: window.latest.clampedSum(remaining + Self.tolerance)
        )
        guard let expiry = self.expiry?.intersection(end) else { return false }
        self.expiry = expiry
        return true
    }

    /// When what a request left runs out.
    private mutating func note(
        _ operation: HistoryOperation,
        from before: LeaseModel.Summary,
        to after: LeaseModel.Summary,
        _ answer: HistoryReply,
        _ window: HistoryWindow
    ) {
        // What is kept is kept for the flight's retention.
        var retention = Int64(before.retention / .nanoseconds(1))
        switch operation.record.request {
        case .enter(_, let terms, _):
            if after.token == operation.token, before.token != operation.token {
                self.expiry = window + terms.duration
                self.grace = terms.grace
                if let lost = before.token, case .superseded = after.kept[lost] {
                    retention += terms.duration + terms.grace
                }
            }
        case .renew(_, let terms, _):
            if case .renewed = answer {
                self.expiry = window + terms.duration
                self.grace = terms.grace
            }
        case .complete(_, _, let reuse, _):
            if case .accepted = answer, reuse > 0 {
                self.reuseUntil = window + reuse
            }
        case .release:
            if after.isLapsed, !before.isLapsed {
                self.expiry = window
            }
        case .poll, .revoke, .leave, .fence, .heard:
            break
        }
        for token in after.kept.keys where before.kept[token] == nil {
            self.keptUntil[token] = window + retention
        }
        if after.token == nil {
            self.expiry = nil
        }
    }
}

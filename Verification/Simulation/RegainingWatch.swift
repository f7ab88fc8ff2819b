import SingleflightLease

/// What a leader whose lease is gone does to get another one: it asks until it is told, and gives back what it may yet
/// be granted when it asks no more.
struct RegainingWatch {
    /// How often it has asked.
    private(set) var sendings = 0
    private var token: LeaseToken?
    private var isUnanswered = false
    private var mayHaveExecuted = false

    /// An earlier request that may yet be granted.
    private var earlier: LeaseToken?

    /// The request that may yet be granted, and that nobody has given back.
    var owed: LeaseToken? { self.earlier ?? (self.isUnanswered || self.mayHaveExecuted ? self.token : nil) }

    mutating func sends(_ request: FlightRequest) {
        switch request {
        case .enter(let token, _, _):
            self.sendings += 1
            if token != self.token {
                self.earlier = self.owed
                self.mayHaveExecuted = false
            }
            self.token = token
            self.isUnanswered = true
        case .release(let token, _):
            if token == self.token { self.token = nil }
            if token == self.earlier { self.earlier = nil }
        case .look, .poll, .leave, .renew, .complete, .revoke:
            break
        }
    }

    mutating func saw(_ event: FlightEvent) {
        guard case .replied(let reply, .enter) = event else { return }
        self.isUnanswered = false
        switch reply {
        // A sending before it may still be carried out; the machine's own account of that is a finer one.
        case .success: self.mayHaveExecuted = false
        case .failure(let error): self.mayHaveExecuted = self.mayHaveExecuted || error.mayHaveExecuted
        }
    }
}

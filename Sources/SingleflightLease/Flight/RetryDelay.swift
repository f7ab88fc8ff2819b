/// Delays before another attempt: doubling up to a limit, each drawn at random from half to all of its step.
package struct RetryDelay: Hashable, Sendable {
    private var step: Duration
    private let limit: Duration

    package init(first: Duration, limit: Duration) {
        self.step = first
        self.limit = limit
    }

    package mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
        let step = self.step
        self.step = min(step * 2, self.limit)
        return step / 2 + .jitter(upTo: step / 2, using: &generator)
    }
}

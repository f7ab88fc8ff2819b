/// Which keys of a call for many the call itself leads, and when its operation begins with them.
///
/// At first the operation is given all keys at once that the call leads, as soon as it is known of every key what the
/// call is in its flight. A key of which that is not known in time does not hold up the others. Keys that the call
/// comes to lead later, because leaders were lost or the store did not answer, seldom come alone: they are gathered for
/// a short time, and given to one more run.
struct Gathering {
    enum Step: Equatable {
        case none
        /// ``timeIsUp()`` is to be called after the time for which later keys are gathered.
        case gather
        /// The operation runs with these keys, which are in the order in which the call names them.
        case run([Int])
    }

    private var isKnown: [Bool]
    private var unknown: Int
    private var ready: [Int] = []
    /// Whether ``timeIsUp()`` is still to come, and keys wait for it or for all to be known.
    private(set) var isGathering = true

    /// ``timeIsUp()`` is to be called after the time for which the first keys wait for the others.
    init(count: Int) {
        self.isKnown = Array(repeating: false, count: count)
        self.unknown = count
    }

    /// The call leads the key.
    mutating func leads(_ index: Int) -> Step {
        self.ready.append(index)
        if self.know(index) { return self.run() }
        guard !self.isGathering else { return .none }
        self.isGathering = true
        return .gather
    }

    /// The call does not lead the key, as far as is known.
    mutating func doesNotLead(_ index: Int) -> Step {
        self.know(index) ? self.run() : .none
    }

    /// No key is waited for any longer.
    mutating func timeIsUp() -> Step {
        self.run()
    }

    /// Answers whether all keys are known by that, which nothing waits for any longer then.
    private mutating func know(_ index: Int) -> Bool {
        guard !self.isKnown[index] else { return false }
        self.isKnown[index] = true
        self.unknown -= 1
        return self.unknown == 0
    }

    private mutating func run() -> Step {
        self.isGathering = false
        guard !self.ready.isEmpty else { return .none }
        defer { self.ready = [] }
        return .run(self.ready.sorted())
    }
}

package import SingleflightLease

/// The one queue of everything that happens in a simulation, and its one source of chance.
///
/// A run is a function of its seed: events happen one after the other in the order of their times, on the thread that
/// calls ``step()``, and nothing else decides anything. Time jumps from event to event; a simulated hour costs what
/// happens in it. A scheduler and all that hangs on it belong to one thread.
package final class SimulatedScheduler {
    private struct Event {
        var time: LeaseInstant
        var serial: UInt64
        var work: () -> Void

        /// Events of one instant happen in the order in which they were scheduled.
        func precedes(_ other: Event) -> Bool {
            self.time == other.time ? self.serial < other.serial : self.time < other.time
        }
    }

    /// The true time, which no simulated machine can read; each has a clock of its own.
    package private(set) var now = LeaseInstant(sinceOrigin: .zero)
    /// How many events have happened.
    package private(set) var steps = 0
    /// What was noted, if the scheduler is tracing.
    package private(set) var trace: [String] = []

    package var random: FlightRandom
    private let isTracing: Bool
    private var heap: [Event] = []
    private var nextSerial: UInt64 = 0

    /// Creates a scheduler at time zero.
    package init(seed: UInt64, isTracing: Bool = false) {
        // One round, so that neighboring seeds do not begin with neighboring numbers.
        var random = FlightRandom.seeded(seed)
        self.random = .seeded(random.next())
        self.isTracing = isTracing
    }

    /// Schedules an event. O(log n).
    package func schedule(after delay: Duration, _ work: @escaping () -> Void) {
        self.schedule(at: self.now.advanced(by: delay), work)
    }

    /// Schedules an event; one whose time has passed happens next.
    package func schedule(at time: LeaseInstant, _ work: @escaping () -> Void) {
        self.heap.append(Event(time: max(time, self.now), serial: self.nextSerial, work: work))
        self.nextSerial += 1
        self.siftUp()
    }

    /// Lets the next event happen. Answers false if there is none.
    package func step() -> Bool {
        guard let event = self.removeFirst() else { return false }
        self.now = event.time
        self.steps += 1
        event.work()
        return true
    }

    /// Notes a line for the reader of a failure; costs nothing unless the scheduler is tracing.
    package func note(_ text: @autoclosure () -> String) {
        guard self.isTracing else { return }
        let microseconds = self.now.sinceOrigin / .microseconds(1)
        let digits = String(Int(microseconds))
        self.trace.append(String(repeating: " ", count: max(0, 10 - digits.count)) + digits + " µs  " + text())
    }

    /// Lets everything that is still to happen not happen.
    package func removeAll() {
        self.heap = []
    }

    // MARK: - Chance

    /// Whether something of that probability happens now.
    package func chance(_ probability: Double) -> Bool {
        probability > 0 && Double.random(in: 0..<1, using: &self.random) < probability
    }

    package func duration(_ range: ClosedRange<Duration>) -> Duration {
        range.lowerBound + .jitter(upTo: range.upperBound - range.lowerBound, using: &self.random)
    }

    package func pick<Element>(_ elements: [Element]) -> Element? {
        elements.randomElement(using: &self.random)
    }

    // MARK: - Heap

    private func siftUp() {
        var index = self.heap.count - 1
        while index > 0 {
            let parent = (index - 1) / 2
            guard self.heap[index].precedes(self.heap[parent]) else { return }
            self.heap.swapAt(index, parent)
            index = parent
        }
    }

    private func removeFirst() -> Event? {
        guard let last = self.heap.popLast() else { return nil }
        guard let first = self.heap.first else { return last }
        self.heap[0] = last
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2] where child < self.heap.count {
                if self.heap[child].precedes(self.heap[least]) {
                    least = child
                }
            }
            guard least != index else { return first }
            self.heap.swapAt(index, least)
            index = least
        }
    }
}

import SingleflightCLI

/// How steady the machine is: others at work on it show as pieces of equal work that take unequal time.
struct MachineNoise {
    private var times: [Int64] = []

    /// How much longer the slowest tenth took than the fastest piece.
    var ratio: Double {
        let sorted = times.sorted()
        guard let fastest = sorted.first, fastest > 0 else { return 1 }
        return Double(sorted[sorted.count * 9 / 10]) / Double(fastest)
    }

    /// Takes some tens of milliseconds: pieces long enough for the scheduler to give the processor to others meanwhile.
    mutating func sample() {
        var sink: UInt64 = 1
        for _ in 0..<10 {
            let start = MonotonicTime.now
            for _ in 0..<10_000_000 { sink = sink &* 6_364_136_223_846_793_005 &+ 1 }
            times.append(MonotonicTime.now.nanoseconds - start.nanoseconds)
        }
        // Never taken; keeps the work from being left out.
        if sink == 0 { times = [] }
    }
}

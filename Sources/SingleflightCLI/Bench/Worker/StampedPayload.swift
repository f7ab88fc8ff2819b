import SingleflightRedis

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A value of so many bytes that begins with the moment at which it was handed over.
enum StampedPayload {
    static func make(bytes count: Int) -> [UInt8] {
        var payload = [UInt8](repeating: 0, count: max(count, 8))
        let time = UInt64(bitPattern: MonotonicTime.now.nanoseconds)
        for index in 0..<8 { payload[index] = UInt8(truncatingIfNeeded: time >> UInt64(index * 8)) }
        return payload
    }

    static func time(of payload: [UInt8]) -> MonotonicTime {
        let time = payload.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return MonotonicTime(nanoseconds: Int64(bitPattern: time))
    }
}

/// Keys of which some are wanted more than others: the k-th most wanted in proportion to k to the power of -skew (Zipf).
struct SkewedKeys: Sendable {
    private let names: [String]
    /// What share of the draws goes to this key or one before it.
    private let shares: [Double]

    init(count: Int, skew: Double) {
        names = (0..<count).map { "key:\($0)" }
        var sum = 0.0
        let sums = (1...count).map { rank in
            sum += pow(Double(rank), -skew)
            return sum
        }
        shares = sums.map { $0 / sum }
    }

    func draw() -> String {
        let point = Double.random(in: 0..<1)
        var (low, high) = (0, names.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if shares[middle] > point { high = middle } else { low = middle + 1 }
        }
        return names[low]
    }
}

/// Processor time of this process, in nanoseconds.
enum ProcessTime {
    static var now: Int64 {
        var reading = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &reading)
        return Int64(reading.tv_sec) * 1_000_000_000 + Int64(reading.tv_nsec)
    }
}

/// Settings that all processes of a benchmark share.
enum BenchSettings {
    static let commandTimeout = Duration.milliseconds(300)
    static let lease = Duration.seconds(1)

    static var group: DistributedGroupConfiguration {
        DistributedGroupConfiguration(
            leaseDuration: lease,
            leaderLoss: .takeOver(attempts: 2),
            unavailable: .fail
        )
    }
}

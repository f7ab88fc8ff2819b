#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Keys of which some are wanted more than others: the k-th most wanted in proportion to k to the power of -skew
/// (Zipf).
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

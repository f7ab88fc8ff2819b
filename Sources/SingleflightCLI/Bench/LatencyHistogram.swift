/// Counts durations in buckets that are each at most a 32nd wide of what they hold: small, mergeable, off by 3 % at
/// most.
package struct LatencyHistogram: Codable, Sendable {
    private static let subBucketBits = 5
    private static let subBuckets = 1 << subBucketBits

    private var counts: [Int] = []
    package private(set) var count = 0

    package init() {}

    package mutating func record(nanoseconds: Int64) {
        let bucket = Self.bucket(of: UInt64(max(nanoseconds, 0)))
        if counts.count <= bucket { counts += Array(repeating: 0, count: bucket + 1 - counts.count) }
        counts[bucket] += 1
        count += 1
    }

    package mutating func merge(_ other: LatencyHistogram) {
        if counts.count < other.counts.count {
            counts += Array(repeating: 0, count: other.counts.count - counts.count)
        }
        for (bucket, number) in other.counts.enumerated() { counts[bucket] += number }
        count += other.count
    }

    /// The lower end of the bucket in which the quantile lies, in nanoseconds; 0 without samples.
    package func quantile(_ quantile: Double) -> Int64 {
        let rank = max(Int((Double(count) * quantile).rounded(.up)), 1)
        var seen = 0
        for (bucket, number) in counts.enumerated() {
            seen += number
            if seen >= rank { return Int64(Self.lowerEnd(of: bucket)) }
        }
        return 0
    }

    /// Small values have a bucket each; from there on every power of two has ``subBuckets`` of them.
    private static func bucket(of value: UInt64) -> Int {
        guard value >= UInt64(subBuckets) else { return Int(value) }
        let shift = (UInt64.bitWidth - 1 - value.leadingZeroBitCount) - subBucketBits
        return (shift + 1) * subBuckets + Int(value >> UInt64(shift)) - subBuckets
    }

    private static func lowerEnd(of bucket: Int) -> UInt64 {
        guard bucket >= subBuckets else { return UInt64(bucket) }
        return UInt64(bucket % subBuckets + subBuckets) << UInt64(bucket / subBuckets - 1)
    }
}

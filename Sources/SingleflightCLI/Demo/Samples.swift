/// Measurements, all of them kept: a percentile is one of them and no estimate.
struct Samples: Sendable {
    private var values: [Int64] = []

    var count: Int { values.count }

    init(_ values: [Int64] = []) { self.values = values }

    mutating func append(contentsOf more: [Int64]) { values += more }

    /// The smallest sample that at least `percent` of all samples do not exceed (nearest rank); nil without samples.
    ///
    /// - Complexity: O(n log n).
    func percentile(_ percent: Int) -> Int64? {
        guard !values.isEmpty else { return nil }
        let rank = (values.count * min(max(percent, 0), 100) + 99) / 100
        return values.sorted()[max(rank, 1) - 1]
    }
}

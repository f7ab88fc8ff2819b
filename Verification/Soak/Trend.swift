/// Whether a quantity that should be flat is: the rule by which a soak judges memory and descriptors.
///
/// The first fifth of the samples, one a second, is warming up, and half a minute at least: accounts are kept for that
/// time. Of the rest the median of the last third may exceed that of the first third by `share` of it or by `slack`,
/// whichever is more. Medians, because single samples may catch a moment of much work.
struct Trend {
    var share: Double
    var slack: Double

    /// Resident memory, in MiB.
    static let memory = Trend(share: 0.1, slack: 4)
    static let descriptors = Trend(share: 0, slack: 2)

    struct Verdict: Codable, Equatable {
        var early: Double
        var late: Double
        var isFlat: Bool
    }

    private static let warmUp = 30

    /// `nil` if there are too few samples to tell.
    func judge(_ samples: [Double]) -> Verdict? {
        let settled = samples.dropFirst(max(samples.count / 5, Self.warmUp))
        let third = settled.count / 3
        guard third >= 5 else { return nil }
        let early = Self.median(settled.prefix(third)), late = Self.median(settled.suffix(third))
        return Verdict(early: early, late: late, isFlat: late <= early + max(early * self.share, self.slack))
    }

    private static func median(_ samples: some Sequence<Double>) -> Double {
        let sorted = samples.sorted()
        return sorted[sorted.count / 2]
    }
}

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A reading of the clock that all processes of one machine share, which `ContinuousClock` does not promise.
package struct MonotonicTime: Codable, Comparable, Hashable, Sendable {
    /// Nanoseconds since an arbitrary moment, the same for every process.
    package let nanoseconds: Int64

    package static var now: MonotonicTime {
        var reading = timespec()
        clock_gettime(CLOCK_MONOTONIC, &reading)
        return MonotonicTime(nanoseconds: Int64(reading.tv_sec) * 1_000_000_000 + Int64(reading.tv_nsec))
    }

    package static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }

    package func duration(to other: MonotonicTime) -> Duration {
        .nanoseconds(other.nanoseconds - nanoseconds)
    }

    package func advanced(by duration: Duration) -> MonotonicTime {
        let (seconds, attoseconds) = duration.components
        return MonotonicTime(nanoseconds: nanoseconds + seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }

    package init(from decoder: any Decoder) throws {
        nanoseconds = try decoder.singleValueContainer().decode(Int64.self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(nanoseconds)
    }

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
}

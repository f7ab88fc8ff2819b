/// How long to wait before the next attempt to connect: exponential with full jitter.
///
/// Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
package struct Backoff: Sendable, Hashable {
    /// Longest delay before the first retry; doubles with every failure in a row.
    package var minimum = Duration.milliseconds(50)
    /// Longest delay of all. A server that is well again is to be in use again within two seconds, the connecting
    /// included.
    package var maximum = Duration.milliseconds(1500)

    package init() {}

    /// The delay after `failures` failures in a row (1 or more): evenly distributed from zero to the ceiling.
    ///
    /// - Parameter random: a number in `0..<1`.
    func delay(afterFailures failures: Int, random: Double) -> Duration {
        // Past 30 doublings any ceiling is reached; more would overflow.
        let ceiling = min(maximum, minimum * (1 << min(max(failures - 1, 0), 30)))
        return ceiling * random
    }

    /// The delay after a failure that time alone will not heal, such as a wrong password: the upper half of the
    /// maximum.
    func patientDelay(random: Double) -> Duration {
        maximum * (0.5 + random / 2)
    }
}

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Processor time of this process, in nanoseconds.
enum ProcessTime {
    static var now: Int64 {
        var reading = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &reading)
        return Int64(reading.tv_sec) * 1_000_000_000 + Int64(reading.tv_nsec)
    }
}

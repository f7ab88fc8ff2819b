#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Says which planted bug is on: the one that the environment names. Copied beside the sources by
/// scripts/check-fuzzers, into its own copy only.
enum Mutant {
    private static let planted = getenv("SINGLEFLIGHT_MUTANT").map { String(cString: $0) } ?? ""

    static func isPlanted(_ name: String) -> Bool {
        self.planted == name
    }
}

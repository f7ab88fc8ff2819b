#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Patterns with `*`, `?` and `[a-z]`, as the shell understands them.
enum Glob {
    static func matches(_ text: String, _ pattern: String) -> Bool {
        fnmatch(pattern, text, 0) == 0
    }
}

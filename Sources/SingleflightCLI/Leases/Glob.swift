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
        // The text of a key has bytes that are not UTF-8 replaced: so has the pattern.
        fnmatch(String(decoding: ByteText.bytes(pattern), as: UTF8.self), text, 0) == 0
    }
}

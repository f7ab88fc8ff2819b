import PrivateRedis

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Finds a program as a shell does: in `PATH`, and a file without `#!` is a script for `sh`.
enum CommandSearch {
    /// Hands `start` one path after the other, with the words to start it with, until one of them is a program.
    ///
    /// - Parameters:
    ///   - words: the name or the path of the program, and its arguments.
    ///   - path: the variable `PATH`, where it is set.
    static func run<Value>(
        _ words: [[UInt8]],
        path: [UInt8]?,
        start: (_ path: [UInt8], _ words: [[UInt8]]) -> Result<Value, Spawn.Failure>
    ) -> Result<Value, Spawn.Failure> {
        var failure = Spawn.Failure(code: ENOENT)
        for candidate in candidates(words.first ?? [], path: path) {
            switch start(candidate, words) {
            case .success(let value): return .success(value)
            case .failure(let error):
                switch error.code {
                case ENOENT, ENOTDIR: continue
                case EACCES: failure = error
                case ENOEXEC where isText(candidate):
                    return start(Array("/bin/sh".utf8), [Array("sh".utf8), candidate] + words.dropFirst())
                default: return .failure(error)
                }
            }
        }
        return .failure(failure)
    }

    private static func candidates(_ name: [UInt8], path: [UInt8]?) -> [[UInt8]] {
        let slash = UInt8(ascii: "/")
        guard !name.isEmpty, !name.contains(slash) else { return name.isEmpty ? [] : [name] }
        // An empty part is the current directory.
        let folders = path ?? Array("/bin:/usr/bin".utf8)
        return folders.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            .map { ($0.isEmpty ? [UInt8(ascii: ".")] : Array($0)) + [slash] + name }
    }

    /// Whether the first line may be a shell's; a program of another machine is none.
    private static func isText(_ path: [UInt8]) -> Bool {
        let name = CStrings([path])
        let file = withExtendedLifetime(name) { name.pointers[0].map { open($0, O_RDONLY | O_CLOEXEC) } ?? -1 }
        guard file >= 0 else { return false }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = read(file, &bytes, bytes.count)
        return count >= 0 && !bytes[..<count].prefix { $0 != UInt8(ascii: "\n") }.contains(0)
    }
}

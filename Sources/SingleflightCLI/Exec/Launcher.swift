import PrivateRedis

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Starts a command that finds signals ignored which this process cannot ignore: SIGCHLD, because it waits for the
/// command, and SIGCONT, because it hands it on.
///
/// That takes a program that ignores them first and then becomes the command. It is this one, started once more.
enum Launcher {
    private static let word = Array("exec-launch".utf8)

    /// The words to start this program with, so that it becomes the command `words`.
    static func words(for words: [[UInt8]], ignoring signals: Set<CInt>) -> [[UInt8]] {
        [Array("singleflight".utf8), word, Array(signals.sorted().map(String.init).joined(separator: ",").utf8)] + words
    }

    /// Where this program is, even after an update has replaced it.
    static func path() throws -> [UInt8] {
        #if os(Linux)
            return Array("/proc/self/exe".utf8)
        #else
            return Array(try ChildProcess.ownExecutable().utf8)
        #endif
    }

    /// Becomes the command if this process was started as one that has to.
    static func becomeCommandIfAsked(_ arguments: [[UInt8]], environment: [[UInt8]]) {
        guard arguments.count > 3, arguments[1] == word else { return }
        for number in arguments[2].split(separator: UInt8(ascii: ",")) {
            if let number = CInt(String(decoding: number, as: UTF8.self)) { signal(number, SIG_IGN) }
        }
        let words = Array(arguments.dropFirst(3))
        let variables = CStrings(environment)
        let result = CommandSearch.run(words, path: EnvironmentBlock(environment)["PATH"]) { path, words in
            let (path, words) = (CStrings([path]), CStrings(words))
            withExtendedLifetime((path, words)) {
                if let path = path.pointers[0] { execve(path, words.pointers, variables.pointers) }
            }
            return Result<Never, Spawn.Failure>.failure(Spawn.Failure(code: errno))
        }
        if case .failure(let failure) = result {
            let notRun = NotRun(failure, words[0])
            StandardStream.error.note(notRun.line)
            exit(notRun.status)
        }
    }
}

/// A command that could not be run; this is its result instead, as a shell would tell it.
struct NotRun: Error {
    /// What everybody is told.
    let line: String
    /// 127: there is no such command; 126: it cannot be run.
    let status: Int32

    init(_ failure: Spawn.Failure, _ name: [UInt8]) {
        line = ErrorLine.text("cannot run \(ByteText.text(name)): \(failure)")
        status = [ENOENT, ENOTDIR].contains(failure.code) ? 127 : 126
    }
}

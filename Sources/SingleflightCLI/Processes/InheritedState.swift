import PrivateRedis
import Synchronization

#if canImport(Darwin)
    import Darwin
#else
    // The environment is a variable of C. It is read once, before there is a second thread.
    @preconcurrency import Glibc
#endif

/// What this process was given by the one that started it, before anything here has changed it.
package struct InheritedState: Sendable {
    package let arguments: [[UInt8]]
    /// Entries as `NAME=value`.
    package let environment: [[UInt8]]
    /// Signals that were ignored, as under `nohup`.
    package let ignoredSignals: Set<CInt>
    package let blockedSignals: Set<CInt>
    /// Open descriptors from 3 on.
    package let descriptors: Set<CInt>
    private let niceness: CInt

    #if canImport(Darwin)
        private static let process = PRIO_PROCESS
    #else
        private static let process = CInt(PRIO_PROCESS.rawValue)
    #endif

    private static let captured = Mutex<InheritedState?>(nil)

    /// To be captured first thing on the main thread: other threads have other signals blocked.
    package static func capture() { captured.withLock { $0 = InheritedState() } }

    package static var current: InheritedState { captured.withLock { $0 } ?? InheritedState() }

    private init() {
        arguments = Self.strings(CommandLine.unsafeArgv)
        #if canImport(Darwin)
            environment = Self.strings(_NSGetEnviron().pointee)
        #else
            environment = Self.strings(environ)
        #endif
        var mask = sigset_t()
        pthread_sigmask(SIG_BLOCK, nil, &mask)
        blockedSignals = Set(Spawn.allSignals.filter { sigismember(&mask, $0) == 1 })
        ignoredSignals = Set(Spawn.allSignals.filter(SignalDisposition.isIgnored))
        descriptors = Self.openDescriptors()
        niceness = getpriority(Self.process, 0)
    }

    /// Calls `body` with the niceness that the main thread had at first: Dispatch changes that of its threads, and a
    /// child has that of the thread which starts it.
    package func withNiceness<Result>(_ body: () -> Result) -> Result {
        let own = getpriority(Self.process, 0)
        guard own != niceness else { return body() }
        setpriority(Self.process, 0, niceness)
        defer { setpriority(Self.process, 0, own) }
        return body()
    }

    private static func strings(_ list: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> [[UInt8]] {
        guard var list else { return [] }
        var strings: [[UInt8]] = []
        while let string = list.pointee {
            strings.append(UnsafeBufferPointer(start: string, count: strlen(string)).map { UInt8(bitPattern: $0) })
            list += 1
        }
        return strings
    }

    /// Marks all descriptors that were opened since as not for children: NIO leaves one or two of its own unmarked.
    package func closeOwnDescriptorsOnExec() {
        for descriptor in Self.openDescriptors().subtracting(descriptors) {
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        }
    }

    private static func openDescriptors() -> Set<CInt> {
        guard let directory = opendir("/dev/fd") else { return [] }
        defer { closedir(directory) }
        var found: Set<CInt> = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { name in
                String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let descriptor = CInt(name), descriptor > STDERR_FILENO, descriptor != dirfd(directory) {
                found.insert(descriptor)
            }
        }
        return found
    }
}

enum SignalDisposition {
    /// SIG_IGN is a number that Swift sees as a function.
    static func isIgnored(_ number: CInt) -> Bool {
        var action = sigaction()
        guard sigaction(number, nil, &action) == 0 else { return false }
        #if canImport(Darwin)
            let handler = unsafeBitCast(action.__sigaction_u.__sa_handler, to: Int.self)
        #else
            let handler = unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
        #endif
        return handler == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}

enum StandardDescriptors {
    /// Opens 0, 1 and 2 on `/dev/null` where they are closed: the next file that is opened would take their place.
    static func open() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 && errno == EBADF {
            #if canImport(Darwin)
                _ = Darwin.open("/dev/null", O_RDWR)
            #else
                _ = Glibc.open("/dev/null", O_RDWR)
            #endif
        }
    }
}

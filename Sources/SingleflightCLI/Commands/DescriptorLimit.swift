#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// How many files this process may have open: what is inherited, and stays as it is, because the command that `exec`
/// runs inherits it in turn.
enum DescriptorLimit {
    /// What a command opens with one event loop: the loop itself, two connections, signals, pipes to a child, and some
    /// for libraries.
    private static let needed = 24

    /// Event loops are made as the limit allows, and a limit that allows none is an error instead of a trap.
    ///
    /// - Throws: ``CommandFailure``.
    static func check() throws {
        var limit = rlimit()
        guard getrlimit(Self.resource, &limit) == 0, limit.rlim_cur < 1_024 else { return }
        // An event loop takes three or four.
        EventLoops.one
        var free: [Int32] = []
        defer { for descriptor in free { close(descriptor) } }
        while free.count < needed {
            let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else {
                throw CommandFailure(
                    "only \(limit.rlim_cur) files may be open here, \(free.count) of them are free, and \(needed) are "
                        + "needed: raise the limit (ulimit -n)",
                    status: .unavailable
                )
            }
            free.append(descriptor)
        }
    }

    private static var resource: __rlimit_resource_t {
        #if canImport(Darwin)
            RLIMIT_NOFILE
        #else
            __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #endif
    }
}

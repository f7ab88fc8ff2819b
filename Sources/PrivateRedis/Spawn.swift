#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Starts a program in a process group of its own, so that Ctrl-C in the terminal reaches us and not it, with
/// standard error discarded, default signal handling, and a fixed environment in which messages are English.
func spawn(
    _ arguments: [String],
    standardInput: borrowing Descriptor,
    standardOutput: borrowing Descriptor
) throws(PrivateRedisError) -> Int32 {
    #if canImport(Darwin)
        var actions: posix_spawn_file_actions_t?
        var attributes: posix_spawnattr_t?
        // Covers the moment between socketpair() and fcntl() on another thread; Linux has SOCK_CLOEXEC for that.
        let platformFlags = POSIX_SPAWN_CLOEXEC_DEFAULT
    #else
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        let platformFlags: Int32 = 0
    #endif
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
        posix_spawn_file_actions_destroy(&actions)
        posix_spawnattr_destroy(&attributes)
    }

    posix_spawn_file_actions_adddup2(&actions, standardInput.raw, 0)
    posix_spawn_file_actions_adddup2(&actions, standardOutput.raw, 1)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)

    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setpgroup(&attributes, 0)
    let flags =
        Int32(POSIX_SPAWN_SETPGROUP) | Int32(POSIX_SPAWN_SETSIGMASK) | Int32(POSIX_SPAWN_SETSIGDEF) | platformFlags
    posix_spawnattr_setflags(&attributes, Int16(flags))

    let argv = cStrings(arguments)
    let environment = cStrings(["PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"])
    defer { for string in argv + environment { free(string) } }

    var pid: pid_t = 0
    let code = posix_spawn(&pid, arguments[0], &actions, &attributes, argv, environment)
    guard code == 0 else { throw .systemCall("posix_spawn", code: code) }
    return pid
}

/// Copies for a C function that takes a null-terminated array; whoever gets them frees them.
private func cStrings(_ strings: [String]) -> [UnsafeMutablePointer<CChar>?] {
    strings.map { strdup($0) } + [nil]
}

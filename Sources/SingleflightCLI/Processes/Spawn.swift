import Foundation

/// Two connected sockets, one to keep and one to give to a child, which no other child of ours inherits.
///
/// No pipe, because Swift on Linux sees no call that makes one without a moment in which another thread's child could
/// inherit it; and a child that holds our end keeps its sibling from ever seeing the end of its input.
struct SocketPair {
    let ours: CInt
    let childs: CInt

    init() throws {
        var ends: [CInt] = [-1, -1]
        #if canImport(Darwin)
            let type = SOCK_STREAM
        #else
            let type = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        #endif
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw CommandFailure("cannot make a socket: \(String(cString: strerror(errno)))")
        }
        #if canImport(Darwin)
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        #endif
        (ours, childs) = (ends[0], ends[1])
    }

    func closeOurs() { _ = close(ours) }

    func closeChilds() { _ = close(childs) }
}

/// `posix_spawn` with what a well-behaved child needs.
enum Spawn {
    /// Starts `executable` with `socket` as its standard input and output, in a process group of its own, with no
    /// signal blocked or ignored.
    static func start(
        _ executable: String,
        _ arguments: [String],
        environment: [String: String],
        socket: CInt
    ) throws -> pid_t {
        #if canImport(Darwin)
            var actions: posix_spawn_file_actions_t?
            var attributes: posix_spawnattr_t?
        #else
            var actions = posix_spawn_file_actions_t()
            var attributes = posix_spawnattr_t()
        #endif
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, socket, STDOUT_FILENO)

        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var flags = Int32(POSIX_SPAWN_SETPGROUP) | Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK)
        #if canImport(Darwin)
            flags |= POSIX_SPAWN_CLOEXEC_DEFAULT
            posix_spawn_file_actions_addinherit_np(&actions, STDERR_FILENO)
        #endif
        posix_spawnattr_setflags(&attributes, Int16(flags))
        posix_spawnattr_setpgroup(&attributes, 0)
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigdefault(&attributes, &all)

        var words: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { (words + variables).forEach { free($0) } }
        var id: pid_t = 0
        let failure = posix_spawn(&id, executable, &actions, &attributes, &words, &variables)
        guard failure == 0 else {
            throw CommandFailure("cannot start \(executable): \(String(cString: strerror(failure)))")
        }
        return id
    }
}

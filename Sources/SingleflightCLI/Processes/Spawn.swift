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
    /// What a child is to be.
    struct Plan {
        /// Where the program is: a path, or with ``isSearched`` also a name to look for in `PATH`.
        var executable: String
        var arguments: [String]
        var environment: [String: String]
        var isSearched = false
        /// Our descriptors that become the child's 0, 1 and 2; nil for what ours are.
        var standardInput: CInt?
        var standardOutput: CInt?
        var standardError: CInt?
        /// The process group to join; 0 for a new one.
        var group: pid_t = 0
        /// Signals that the child ignores because we do; all others have their default effect.
        var ignoredSignals: [CInt] = []
        /// Whether the child starts with all signals blocked.
        var blocksSignals = false
    }

    /// Starts `executable` with `socket` as its standard input and output, in a process group of its own, with no
    /// signal blocked or ignored.
    static func start(
        _ executable: String,
        _ arguments: [String],
        environment: [String: String],
        socket: CInt
    ) throws -> pid_t {
        let plan = Plan(
            executable: executable,
            arguments: arguments,
            environment: environment,
            standardInput: socket,
            standardOutput: socket
        )
        switch start(plan) {
        case .success(let id): return id
        case .failure(let failure):
            throw CommandFailure("cannot start \(executable): \(failure.description)")
        }
    }

    /// The number of the system call's error.
    struct Failure: Error, CustomStringConvertible {
        let code: CInt
        var description: String { String(cString: strerror(code)) }
    }

    static func start(_ plan: Plan) -> Result<pid_t, Failure> {
        #if canImport(Darwin)
            var actions: posix_spawn_file_actions_t?
            var attributes: posix_spawnattr_t?
        #else
            var actions = posix_spawn_file_actions_t()
            var attributes = posix_spawnattr_t()
        #endif
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (target, ours) in [plan.standardInput, plan.standardOutput, plan.standardError].enumerated() {
            if let ours {
                posix_spawn_file_actions_adddup2(&actions, ours, CInt(target))
            } else {
                #if canImport(Darwin)
                    posix_spawn_file_actions_addinherit_np(&actions, CInt(target))
                #endif
            }
        }

        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var flags = Int32(POSIX_SPAWN_SETPGROUP) | Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK)
        #if canImport(Darwin)
            flags |= POSIX_SPAWN_CLOEXEC_DEFAULT
        #endif
        posix_spawnattr_setflags(&attributes, Int16(flags))
        posix_spawnattr_setpgroup(&attributes, plan.group)
        var mask = sigset_t()
        _ = plan.blocksSignals ? sigfillset(&mask) : sigemptyset(&mask)
        posix_spawnattr_setsigmask(&attributes, &mask)
        var defaults = sigset_t()
        sigfillset(&defaults)
        for number in plan.ignoredSignals { sigdelset(&defaults, number) }
        posix_spawnattr_setsigdefault(&attributes, &defaults)

        var words: [UnsafeMutablePointer<CChar>?] = ([plan.executable] + plan.arguments).map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = plan.environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { (words + variables).forEach { free($0) } }
        var id: pid_t = 0
        let spawn = plan.isSearched ? posix_spawnp : posix_spawn
        let code = spawn(&id, plan.executable, &actions, &attributes, &words, &variables)
        return code == 0 ? .success(id) : .failure(Failure(code: code))
    }
}

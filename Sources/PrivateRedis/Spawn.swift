#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// `posix_spawn` with what a well-behaved child needs.
package enum Spawn {
    /// What a child is to be.
    package struct Plan {
        /// Where the program is: a path, or with ``isSearched`` also a name to look for in `PATH`.
        package var executable: String
        package var arguments: [String]
        package var environment: [String: String]
        package var isSearched = false
        /// Our descriptors that become the child's 0, 1 and 2; nil for what ours are.
        package var standardInput: CInt?
        package var standardOutput: CInt?
        package var standardError: CInt?
        /// The process group to join; 0 for a new one.
        package var group: Int32 = 0
        /// Signals that the child ignores because we do; all others have their default effect.
        package var ignoredSignals: [CInt] = []
        /// Whether the child starts with all signals blocked.
        package var blocksSignals = false

        package init(
            executable: String,
            arguments: [String],
            environment: [String: String],
            isSearched: Bool = false,
            standardInput: CInt? = nil,
            standardOutput: CInt? = nil,
            standardError: CInt? = nil,
            group: Int32 = 0,
            ignoredSignals: [CInt] = [],
            blocksSignals: Bool = false
        ) {
            self.executable = executable
            self.arguments = arguments
            self.environment = environment
            self.isSearched = isSearched
            self.standardInput = standardInput
            self.standardOutput = standardOutput
            self.standardError = standardError
            self.group = group
            self.ignoredSignals = ignoredSignals
            self.blocksSignals = blocksSignals
        }
    }

    /// The number of the system call's error.
    package struct Failure: Error, CustomStringConvertible {
        package let code: CInt
        package var description: String { errorText(code) }
    }

    /// Starts the child; its process id.
    package static func start(_ plan: Plan) -> Result<Int32, Failure> {
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
        var id: Int32 = 0
        let spawn = plan.isSearched ? posix_spawnp : posix_spawn
        let code = spawn(&id, plan.executable, &actions, &attributes, &words, &variables)
        return code == 0 ? .success(id) : .failure(Failure(code: code))
    }
}

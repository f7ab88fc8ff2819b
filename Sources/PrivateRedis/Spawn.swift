#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// `posix_spawn` with what a well-behaved child needs.
package enum Spawn {
    /// What a child is to be. Words and variables are bytes, as the system has them.
    package struct Plan {
        /// The program's path.
        package var executable: [UInt8]
        /// All of them, the program's own name in front.
        package var words: [[UInt8]]
        /// Entries as `NAME=value`.
        package var environment: [[UInt8]]
        /// Our descriptors that become the child's 0, 1 and 2; nil for what ours are.
        package var standardInput: CInt?
        package var standardOutput: CInt?
        package var standardError: CInt?
        /// The process group to join; 0 for a new one.
        package var group: Int32 = 0
        /// Signals that the child ignores because we do; all others have their default effect.
        package var ignoredSignals: [CInt] = []
        /// Signals that are blocked when the child starts.
        package var blockedSignals: [CInt] = []
        /// Descriptors from 3 on that the child gets on systems where it has to be said. Elsewhere it gets all that are
        /// not marked to be closed.
        package var keptDescriptors: [CInt] = []

        package init(executable: [UInt8], words: [[UInt8]], environment: [[UInt8]]) {
            (self.executable, self.words, self.environment) = (executable, words, environment)
        }

        package init(
            executable: String,
            arguments: [String],
            environment: [String: String],
            standardInput: CInt? = nil,
            standardOutput: CInt? = nil,
            standardError: CInt? = nil
        ) {
            self.init(
                executable: Array(executable.utf8),
                words: ([executable] + arguments).map { Array($0.utf8) },
                environment: environment.map { Array("\($0)=\($1)".utf8) }
            )
            (self.standardInput, self.standardOutput) = (standardInput, standardOutput)
            self.standardError = standardError
        }
    }

    /// All signals that there are.
    package static let allSignals: [CInt] = (1...64).map { CInt($0) }

    /// The number of the system call's error.
    package struct Failure: Error, CustomStringConvertible {
        package let code: CInt

        package init(code: CInt) { self.code = code }

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
        #if canImport(Darwin)
            for descriptor in plan.keptDescriptors { posix_spawn_file_actions_addinherit_np(&actions, descriptor) }
        #endif

        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var flags = Int32(POSIX_SPAWN_SETPGROUP) | Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK)
        #if canImport(Darwin)
            flags |= POSIX_SPAWN_CLOEXEC_DEFAULT
        #endif
        posix_spawnattr_setflags(&attributes, Int16(flags))
        posix_spawnattr_setpgroup(&attributes, plan.group)
        var mask = sigset_t()
        sigemptyset(&mask)
        for number in plan.blockedSignals { sigaddset(&mask, number) }
        posix_spawnattr_setsigmask(&attributes, &mask)
        var defaults = sigset_t()
        sigfillset(&defaults)
        for number in plan.ignoredSignals { sigdelset(&defaults, number) }
        posix_spawnattr_setsigdefault(&attributes, &defaults)

        let path = CStrings([plan.executable])
        let words = CStrings(plan.words)
        let variables = CStrings(plan.environment)
        var id: Int32 = 0
        let code = withExtendedLifetime((path, words, variables)) {
            guard let path = path.pointers[0] else { return ENOENT }
            return posix_spawn(&id, path, &actions, &attributes, words.pointers, variables.pointers)
        }
        return code == 0 ? .success(id) : .failure(Failure(code: code))
    }
}

/// Bytes as the strings of C, in a list that ends with a null pointer.
package final class CStrings {
    package let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    package init(_ strings: [[UInt8]]) {
        count = strings.count
        pointers = .allocate(capacity: count + 1)
        for (index, string) in strings.enumerated() {
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: string.count + 1)
            for (offset, byte) in string.enumerated() { copy[offset] = CChar(bitPattern: byte) }
            copy[string.count] = 0
            (pointers + index).initialize(to: copy)
        }
        (pointers + count).initialize(to: nil)
    }

    deinit {
        for index in 0..<count { pointers[index]?.deallocate() }
        pointers.deallocate()
    }
}

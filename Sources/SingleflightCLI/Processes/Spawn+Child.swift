import PrivateRedis

extension Spawn {
    /// Starts `executable` with `socket` as its standard input and output, in a process group of its own, with no
    /// signal blocked or ignored.
    static func start(
        _ executable: String,
        _ arguments: [String],
        environment: [String: String],
        socket: CInt
    ) throws -> Int32 {
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
            throw CommandFailure("cannot start \(executable): \(failure)")
        }
    }
}

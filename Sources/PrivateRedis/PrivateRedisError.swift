/// Why a private Redis could not be started or asked.
package enum PrivateRedisError: Error, Equatable, CustomStringConvertible {
    /// There is no `redis-server` in the search path.
    case redisServerNotFound
    /// Somebody else listens on the port that was asked for.
    case portInUse(UInt16)
    /// The server ended, or was not ready in time; `log` is the end of what it printed.
    case didNotStart(reason: String, log: String)
    /// The server closed the connection before it had answered.
    case connectionClosed
    /// The server sent something that is not RESP2.
    case malformedReply
    /// A system call failed with this `errno`.
    case systemCall(String, code: Int32)

    package var description: String {
        switch self {
        case .redisServerNotFound:
            """
            redis-server was not found in PATH; install it with
              Debian, Ubuntu:  sudo apt-get install -y redis-server
              Fedora, RHEL:    sudo dnf install -y redis
              macOS:           brew install redis
            """
        case .portInUse(let port): "port \(port) of 127.0.0.1 is already in use"
        case .didNotStart(let reason, let log): "redis-server did not start: \(reason); its log ends with\n\(log)"
        case .connectionClosed: "redis-server closed the connection without an answer"
        case .malformedReply: "redis-server sent a malformed reply"
        case .systemCall(let call, let code): "\(call) failed: \(errorText(code))"
        }
    }
}

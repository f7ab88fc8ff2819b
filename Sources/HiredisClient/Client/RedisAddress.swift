/// Where one Redis server, or one sentinel, listens.
public enum RedisAddress: Sendable, Hashable {
    /// A host name or an IP address, without brackets, and a port.
    case tcp(host: String, port: Int)
    /// The path of a Unix socket.
    case unixSocket(path: String)
}

extension RedisAddress: CustomStringConvertible {
    /// `host:port`, with an IPv6 address in brackets; the path of a Unix socket.
    public var description: String {
        switch self {
        case .tcp(let host, let port): "\(host.contains(":") ? "[\(host)]" : host):\(port)"
        case .unixSocket(let path): path
        }
    }
}

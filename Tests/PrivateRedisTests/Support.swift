import PrivateRedis
import Testing

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

func directory(of redis: PrivateRedis) throws -> String {
    let path = try #require(redis.socketPath)
    return String(path[..<(try #require(path.lastIndex(of: "/")))])
}

func exists(_ path: String) -> Bool {
    access(path, F_OK) == 0
}

func isAlive(_ pid: Int32) -> Bool {
    kill(pid, 0) == 0
}

/// A bare TCP connection to 127.0.0.1. Times are in milliseconds.
final class TestConnection {
    struct Refused: Error {}

    private let descriptor: Int32

    init(port: UInt16) throws {
        #if canImport(Darwin)
            descriptor = socket(AF_INET, SOCK_STREAM, 0)
        #else
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        #endif
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let raw = descriptor
        let status = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { throw Refused() }
    }

    deinit { _ = close(descriptor) }

    func send(_ text: String) {
        _ = text.withCString { write(descriptor, $0, strlen($0)) }
    }

    /// Waits until there is something to read, the end included.
    func hasInput(within limit: Int32) -> Bool {
        var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&poller, 1, limit) == 1
    }

    /// Waits for the end of a connection on which nothing was asked.
    func isClosedByPeer(within limit: Int32) -> Bool {
        var byte: UInt8 = 0
        return hasInput(within: limit) && read(descriptor, &byte, 1) <= 0
    }
}

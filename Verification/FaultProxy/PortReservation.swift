#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Keeps a port of 127.0.0.1 for one process without listening on it: whoever connects is refused, and nobody else gets
/// the port while its listener is closed.
final class PortReservation: Sendable {
    let port: Int
    private let descriptor: Int32

    init() throws(FaultProxyError) {
        #if canImport(Darwin)
            let type = SOCK_STREAM
        #else
            let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        #endif
        let descriptor = socket(AF_INET, type, 0)
        guard descriptor >= 0 else { throw FaultProxyError(call: "socket", code: errno) }
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &one, socklen_t(MemoryLayout<Int32>.size))
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                let status = bind(descriptor, address, length)
                return status == 0 ? getsockname(descriptor, address, &length) : status
            }
        }
        guard status == 0 else {
            let code = errno
            _ = Self.close(descriptor)
            throw FaultProxyError(call: "bind", code: code)
        }
        self.descriptor = descriptor
        self.port = Int(UInt16(bigEndian: name.sin_port))
    }

    deinit {
        _ = Self.close(self.descriptor)
    }

    private static func close(_ descriptor: Int32) -> Int32 {
        #if canImport(Darwin)
            Darwin.close(descriptor)
        #else
            Glibc.close(descriptor)
        #endif
    }
}

/// A system call failed.
package struct FaultProxyError: Error, CustomStringConvertible {
    let call: String
    let code: Int32

    package var description: String { "\(self.call) failed: \(String(cString: strerror(self.code)))" }
}

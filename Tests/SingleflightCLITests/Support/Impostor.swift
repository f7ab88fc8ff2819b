import Foundation

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A port that answers like another service than Redis.
enum Impostor {
    /// Calls `body` with the URL of the port.
    static func with(_ body: (_ url: String) async throws -> Void) async throws {
        #if canImport(Darwin)
            let type = SOCK_STREAM
        #else
            let type = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        #endif
        let listener = socket(AF_INET, type, 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, length) == 0 && listen(listener, 16) == 0
                    && getsockname(listener, address, &length) == 0
            }
        }
        guard listener >= 0, isListening else { throw POSIXError(.EADDRNOTAVAIL) }
        Thread.detachNewThread {
            // Ends when the listener is closed for reading.
            while case let client = accept(listener, nil, nil), client >= 0 {
                let answer = Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)
                _ = write(client, answer, answer.count)
                close(client)
            }
        }
        defer { shutdown(listener, Int32(SHUT_RDWR)) }
        try await body("redis://127.0.0.1:\(UInt16(bigEndian: address.sin_port))")
    }
}

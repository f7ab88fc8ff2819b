#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A blocking connection that sends one command at a time and returns the reply as it came. It blocks its thread, for
/// five seconds at most per read or write.
struct RedisSocket: ~Copyable {
    enum Address: Sendable {
        case unixSocket(String)
        case loopback(port: UInt16)
    }

    private let descriptor: Descriptor
    private var received: [UInt8] = []

    init(_ address: Address) throws(PrivateRedisError) {
        descriptor = try Self.connected(to: address)
    }

    /// Sends a command and returns the raw text of its reply, error replies included.
    mutating func ask(_ arguments: [String]) throws(PrivateRedisError) -> String {
        var command = Array("*\(arguments.count)\r\n".utf8)
        for argument in arguments { command += Array("$\(argument.utf8.count)\r\n\(argument)\r\n".utf8) }
        try transmit(command)

        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            if let end = try Self.endOfReply(in: received, from: 0) {
                defer { received.removeFirst(end) }
                return String(decoding: received[..<end], as: UTF8.self)
            }
            let count = read(descriptor.raw, &buffer, buffer.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw lastError("read")
            }
            guard count > 0 else { throw .connectionClosed }
            received += buffer[..<count]
        }
    }

    private func transmit(_ bytes: [UInt8]) throws(PrivateRedisError) {
        #if canImport(Darwin)
            let flags: Int32 = 0
        #else
            let flags = Int32(MSG_NOSIGNAL)
        #endif
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { send(descriptor.raw, $0.baseAddress, $0.count, flags) }
            if count < 0 {
                if errno == EINTR { continue }
                throw lastError("send")
            }
            sent += count
        }
    }

    /// Where the reply that starts at `start` ends, or nil while part of it is missing.
    static func endOfReply(in bytes: [UInt8], from start: Int) throws(PrivateRedisError) -> Int? {
        guard let carriageReturn = bytes[start...].firstIndex(of: UInt8(ascii: "\r")), carriageReturn + 1 < bytes.count
        else { return nil }
        let endOfLine = carriageReturn + 2
        guard carriageReturn > start else { throw .malformedReply }

        func number() throws(PrivateRedisError) -> Int {
            guard let number = Int(String(decoding: bytes[(start + 1)..<carriageReturn], as: UTF8.self)) else {
                throw .malformedReply
            }
            return number
        }
        switch bytes[start] {
        case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: ":"):
            return endOfLine
        case UInt8(ascii: "$"):
            let length = try number()
            let end = length < 0 ? endOfLine : endOfLine + length + 2
            return end <= bytes.count ? end : nil
        case UInt8(ascii: "*"):
            var end = endOfLine
            for _ in 0..<max(0, try number()) {
                guard let next = try endOfReply(in: bytes, from: end) else { return nil }
                end = next
            }
            return end
        default:
            throw .malformedReply
        }
    }
}

extension RedisSocket {
    private static func connected(to address: Address) throws(PrivateRedisError) -> Descriptor {
        let descriptor: Descriptor
        let status: Int32
        switch address {
        case .unixSocket(let path):
            descriptor = try makeSocket(AF_UNIX)
            var name = sockaddr_un()
            name.sun_family = sa_family_t(AF_UNIX)
            let fits = withUnsafeMutableBytes(of: &name.sun_path) { room in
                guard path.utf8.count < room.count else { return false }
                room.copyBytes(from: path.utf8)
                return true
            }
            guard fits else { throw .systemCall("connect", code: ENAMETOOLONG) }
            status = attach(descriptor, to: &name)
        case .loopback(let port):
            descriptor = try makeSocket(AF_INET)
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_port = port.bigEndian
            name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            status = attach(descriptor, to: &name)
        }
        guard status == 0 else { throw lastError("connect") }
        return descriptor
    }

    private static func makeSocket(_ family: Int32) throws(PrivateRedisError) -> Descriptor {
        #if canImport(Darwin)
            let descriptor = Descriptor(adopting: socket(family, SOCK_STREAM, 0))
        #else
            let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
            let descriptor = Descriptor(adopting: socket(family, type, 0))
        #endif
        guard descriptor.raw >= 0 else { throw lastError("socket") }
        #if canImport(Darwin)
            _ = fcntl(descriptor.raw, F_SETFD, FD_CLOEXEC)
            var one: Int32 = 1
            setsockopt(descriptor.raw, SOL_SOCKET, SO_NOSIGPIPE, &one, socklen_t(MemoryLayout<Int32>.size))
        #endif
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor.raw, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        return descriptor
    }

    private static func attach<Name>(_ descriptor: borrowing Descriptor, to name: inout Name) -> Int32 {
        let raw = descriptor.raw
        return withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(raw, $0, socklen_t(MemoryLayout<Name>.size))
            }
        }
    }
}

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A configuration with every choice made, so that a restarted server comes up at the same address.
struct ServerSetup: Sendable {
    /// The program and what stands in front of it.
    private let program: [String]
    private let isSentinel: Bool
    let directory: String
    let socketPath: String?
    let port: UInt16?
    private let listensOnIPv6: Bool
    let password: String?
    private let users: [String]
    private let extraLines: [String]

    /// Makes the choices that `configuration` leaves open; the second value tells whether the port is one of them.
    static func make(program: String, configuration: PrivateRedis.Configuration) -> (ServerSetup, choseThePort: Bool) {
        let port: PrivateRedis.Configuration.Port?
        let hasUnixSocket: Bool
        switch configuration.listening {
        case .unixSocket: (port, hasUnixSocket) = (nil, true)
        case .tcp(let wanted): (port, hasUnixSocket) = (wanted, false)
        case .unixSocketAndTCP(let wanted): (port, hasUnixSocket) = (wanted, true)
        }
        let directory = temporaryDirectory + "/singleflight-" + String(UInt64.random(in: .min ... .max), radix: 36)
        let setup = ServerSetup(
            program: configuration.launcher + [program],
            isSentinel: configuration.isSentinel,
            directory: directory,
            socketPath: hasUnixSocket ? directory + "/redis.sock" : nil,
            port: port.map(number),
            listensOnIPv6: configuration.listensOnIPv6,
            password: configuration.password,
            users: configuration.users,
            extraLines: configuration.extraLines
        )
        if case .free = port { return (setup, choseThePort: true) }
        return (setup, choseThePort: false)
    }

    /// The user's, unless its path leaves too little of the 104 bytes that a Unix socket's path may have on macOS.
    private static var temporaryDirectory: String {
        guard let path = getenv("TMPDIR").map({ String(cString: $0) }), 1...48 ~= path.utf8.count else { return "/tmp" }
        return path
    }

    /// Free ports are guessed below the ranges from which Linux and macOS take the ports of outgoing connections.
    /// Within them a client that reconnects while the server is down can be given the server's own port.
    private static func number(of port: PrivateRedis.Configuration.Port) -> UInt16 {
        switch port {
        case .free: .random(in: 20_000..<32_000)
        case .fixed(let number): number
        }
    }

    func command(reading configurationFile: String) -> [String] {
        program + [configurationFile] + (isSentinel ? ["--sentinel"] : [])
    }

    var address: RedisSocket.Address {
        if let socketPath { .unixSocket(socketPath) } else { .loopback(port: port ?? 0) }
    }

    var url: String {
        let credentials = password.map { ":\(percentEncoded($0))@" } ?? ""
        if let socketPath { return "redis+unix://\(credentials)\(socketPath)" }
        return "redis://\(credentials)127.0.0.1:\(port ?? 0)"
    }

    /// Makes the directory with the configuration file in it, readable to nobody else, and returns the file's path.
    func writeDirectory() throws(PrivateRedisError) -> String {
        guard mkdir(directory, 0o700) == 0 else { throw lastError("mkdir") }
        do throws(PrivateRedisError) {
            let file = configurationFile
            let descriptor = Descriptor(adopting: open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600))
            guard descriptor.raw >= 0 else { throw lastError("open") }
            let text = Array(configurationText.utf8)
            // A regular file takes it whole, or the disk is full.
            guard write(descriptor.raw, text, text.count) == text.count else { throw lastError("write") }
            return file
        } catch {
            removeDirectory()
            throw error
        }
    }

    /// Removes what ``writeDirectory()`` made, where no server was started that would have it removed.
    func removeDirectory() {
        _ = unlink(configurationFile)
        _ = rmdir(directory)
    }

    private var configurationFile: String { directory + "/redis.conf" }

    /// The last line of a kind wins: the caller's lines can change the defaults, but not what we rely on.
    private var configurationText: String {
        // A sentinel keeps no data, and knows nothing of how to.
        var lines = isSentinel ? [] : [#"save """#, "appendonly no"]
        if let password { lines.append("requirepass \(quoted(password))") }
        lines += users.map { "user \($0)" }
        lines += extraLines
        lines += [
            "daemonize no", "supervised no", "loglevel notice", #"logfile """#, "always-show-logo no",
            "dir \(directory)", "bind 127.0.0.1\(listensOnIPv6 ? " ::1" : "")", "port \(port ?? 0)",
        ]
        if let socketPath { lines += ["unixsocket \(socketPath)", "unixsocketperm 700"] }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// A string literal of the configuration file, whatever the bytes.
private func quoted(_ text: String) -> String {
    "\"" + text.utf8.map { #"\x"# + hexadecimal($0) }.joined() + "\""
}

private func percentEncoded(_ text: String) -> String {
    text.utf8.map { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            String(UnicodeScalar(byte))
        default:
            "%" + hexadecimal(byte)
        }
    }.joined()
}

private func hexadecimal(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return byte < 16 ? "0" + digits : digits
}

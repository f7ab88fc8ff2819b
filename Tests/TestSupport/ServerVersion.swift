import Foundation

/// Which server the tests start: the first `redis-server` in the PATH. Tests are about what servers do; where versions
/// have other words or settings for it, this is what tells them apart.
public struct ServerVersion: Sendable {
    /// Redis, or Valkey, whose versions begin where Redis 7.2 ended.
    public let isValkey: Bool
    /// The numbers before the first dot and behind it.
    public let major, minor: Int

    /// The one that is started, asked once.
    public static let current = ServerVersion(said: Self.ask())

    /// Reads `Redis server v=7.0.15 sha=…`, and takes what it does not understand for Redis 7.0.
    public init(said text: String) {
        self.isValkey = text.hasPrefix("Valkey")
        let version = text.split(separator: " ").first { $0.hasPrefix("v=") }?.dropFirst(2) ?? ""
        let numbers = version.split(separator: ".").map { Int($0) ?? 0 }
        self.major = numbers.first ?? 7
        self.minor = numbers.dropFirst().first ?? 0
    }

    /// Redis 6.2: without functions, shard channels and flags of scripts.
    public var isBefore7: Bool { !self.isValkey && self.major < 7 }

    /// Redis 7.2 has other words for missing rights, and Valkey began with them.
    public var isBefore72: Bool { !self.isValkey && (self.major, self.minor) < (7, 2) }

    /// Valkey 9.0 and Redis 8.4 delete a key if its value is the one that is named.
    public var comparesAndDeletes: Bool { self.isValkey ? self.major >= 9 : (self.major, self.minor) >= (8, 4) }

    /// Lines of a configuration, written for Redis 7.0, as this server knows them.
    public func lines(_ lines: [String]) -> [String] {
        guard self.isBefore7 else { return lines }
        return lines.compactMap { line in
            // What these allow is allowed there.
            if line.hasPrefix("enable-debug-command") || line.hasPrefix("enable-protected-configs") { return nil }
            return line.replacing("busy-reply-threshold", with: "lua-time-limit")
        }
    }

    /// By `popen`, whose pipe no other process inherits. A server that another test starts in the same moment would hold
    /// that of Foundation's `Process` open, and its end would never come.
    private static func ask() -> String {
        guard let output = popen("redis-server --version", "r") else { return "" }
        defer { pclose(output) }
        var line = [CChar](repeating: 0, count: 1_024)
        guard fgets(&line, Int32(line.count), output) != nil else { return "" }
        return String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

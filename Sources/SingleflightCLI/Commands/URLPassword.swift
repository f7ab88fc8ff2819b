import ArgumentParser
import Foundation
import HiredisClient
import Synchronization

/// The password of a URL, put in and taken out.
enum URLPassword {
    /// Whether the servers' password stands in the URL, or the file that holds it.
    static func isIn(_ url: String) -> Bool { (try? RedisTarget(url))?.credentials?.hasPassword ?? false }

    /// Whether a password stands in the URL that nobody else should see: that of the servers, or of the sentinels.
    static func shows(_ url: String) -> Bool {
        guard let target = try? RedisTarget(url) else { return false }
        if target.credentials?.showsPassword ?? false { return true }
        guard case .sentinel(let sentinel) = target.deployment else { return false }
        return sentinel.credentials?.showsPassword ?? false
    }

    /// The URL without its passwords; as it is, if it has none.
    static func removed(from url: String) -> String {
        guard shows(url), var parts = Parts(url) else { return url }
        if let colon = parts.login.firstIndex(of: UInt8(ascii: ":")) {
            parts.login = Array(parts.login[..<colon])
        }
        let login = parts.login.isEmpty ? [] : parts.login + [UInt8(ascii: "@")]
        return String(decoding: parts.scheme + login + withoutSentinelPassword(parts.rest), as: UTF8.self)
    }

    private static func withoutSentinelPassword(_ rest: [UInt8]) -> [UInt8] {
        guard let mark = rest.firstIndex(of: UInt8(ascii: "?")) else { return rest }
        let items = rest[(mark + 1)...].split(separator: UInt8(ascii: "&"), omittingEmptySubsequences: false)
            .filter { !$0.starts(with: Array("sentinel-password=".utf8)) }
        let query = Array(items.joined(separator: [UInt8(ascii: "&")]))
        return Array(rest[..<mark]) + (query.isEmpty ? [] : [UInt8(ascii: "?")] + query)
    }

    /// The URL, which has no password, with `password`.
    static func inserted(_ password: [UInt8], into url: String) -> String {
        guard let parts = Parts(url) else { return url }
        let encoded = password.flatMap { byte -> [UInt8] in
            let character = Unicode.Scalar(byte)
            let isPlain = character.isASCII && (character.properties.isAlphabetic || ("0"..."9").contains(character))
            return isPlain ? [byte] : Array("%\(byte.hexadecimal)".utf8)
        }
        return String(decoding: parts.scheme + parts.login + ":".utf8 + encoded + "@".utf8 + parts.rest, as: UTF8.self)
    }

    /// A URL's bytes: up to `://`, the login without its `@`, and what is behind it.
    private struct Parts {
        var scheme: [UInt8]
        var login: [UInt8] = []
        var rest: [UInt8]

        init?(_ url: String) {
            let bytes = Array(url.utf8)
            guard let mark = bytes.firstRange(of: Array("://".utf8)) else { return nil }
            scheme = Array(bytes[..<mark.upperBound])
            let tail = bytes[mark.upperBound...]
            let end = tail.firstIndex { "/?#".utf8.contains($0) } ?? tail.endIndex
            guard let at = tail[..<end].lastIndex(of: UInt8(ascii: "@")) else {
                rest = Array(tail)
                return
            }
            login = Array(tail[..<at])
            rest = Array(tail[(at + 1)...])
        }
    }
}

/// A password that stands in a file.
enum PasswordFile {
    /// Each file as it was read first: what a descriptor leads to can be read only once.
    private static let read = Mutex<[String: [UInt8]]>([:])

    /// The first line of the file.
    ///
    /// - Throws: `ValidationError`.
    static func password(in path: String) throws -> [UInt8] {
        try read.withLock { read in
            if let password = read[path] { return password }
            guard let file = FileHandle(forReadingAtPath: path), let bytes = try? file.readToEnd() ?? Data() else {
                throw ValidationError("cannot read the password file \(path)")
            }
            let password = Array(bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") })
            guard !password.isEmpty, String(validating: password, as: UTF8.self) != nil else {
                throw ValidationError("the password file \(path) holds no password in its first line")
            }
            read[path] = password
            return password
        }
    }
}

/// Where a Redis server is and how to log in to it.
///
/// - `redis://[user[:password]@]host[:port][/database]`, port 6379 and database 0 by default; IPv6 in brackets
/// - `rediss://` likewise, by TLS; with what to trust, and who one is, behind it: `?ca=file&cert=file&key=file`, see
///   ``RedisTLS``
/// - `redis+unix://[user[:password]@]/path/to.sock[?db=database]`
///
/// User, password and path may be percent-encoded.
package struct RedisURL: Sendable, Hashable {
    package typealias Endpoint = RedisAddress

    /// A text that never shows in a description, a dump or a log.
    package struct Secret: Sendable, Hashable {
        package let value: String

        package init(_ value: String) {
            self.value = value
        }
    }

    package var endpoint: Endpoint
    /// How the connection is encrypted; `nil` for not at all.
    package var tls: RedisTLS?
    package var user: String?
    package var password: Secret?
    package var database = 0

    package init(
        endpoint: Endpoint,
        tls: RedisTLS? = nil,
        user: String? = nil,
        password: Secret? = nil,
        database: Int = 0
    ) {
        self.endpoint = endpoint
        self.tls = tls
        self.user = user
        self.password = password
        self.database = database
    }

    package init(_ text: String) throws(RedisURLError) {
        guard let separator = RedisURL.split(text[...], at: "://") else { throw .missingScheme }
        switch separator.before.lowercased() {
        case "redis": try self.init(tcp: separator.after, isEncrypted: false)
        case "rediss":
            // Said here, where a program starts, and not by connections that fail for ever.
            guard RedisTLS.isBuiltIn else { throw .builtWithoutTLS }
            try self.init(tcp: separator.after, isEncrypted: true)
        case "redis+unix": try self.init(unixSocket: separator.after)
        default: throw .unknownScheme
        }
    }
}

/// What is wrong with a URL. Never quotes it: in a malformed URL, a password can stand anywhere.
package enum RedisURLError: Error, Hashable, Sendable {
    case missingScheme
    case unknownScheme
    case builtWithoutTLS
    case missingHost
    case invalidHost
    case invalidPort
    case invalidDatabase
    case invalidPercentEncoding
    case missingSocketPath
    case unexpectedQuery
    case incompleteCertificate
    case unencodedLogin
    case twoPasswords
    case severalServers
    case unknownTopology
    case databaseOfCluster
    case missingSentinels
    case missingPrimaryName
}

extension RedisURLError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missingScheme: "a Redis URL starts with redis://, rediss://, redis-sentinel:// or redis+unix://"
        case .unknownScheme:
            "the scheme of a Redis URL is redis, rediss, redis+unix, redis-sentinel or rediss-sentinel"
        case .builtWithoutTLS: "rediss:// is not available: this program was built without the trait TLS"
        case .missingHost: "the Redis URL names no host"
        case .invalidHost: "the host of the Redis URL is malformed"
        case .invalidPort: "the port of the Redis URL is not a number from 1 to 65535"
        case .invalidDatabase: "the database of the Redis URL is not a number from 0"
        case .invalidPercentEncoding: "the Redis URL is not percent-encoded properly"
        case .missingSocketPath: "the Redis URL names no socket: redis+unix:///path/to.sock"
        case .unexpectedQuery:
            """
            the Redis URL has a query or fragment that means nothing here; known are password-file and \
            topology=cluster, for rediss ca, cert, key and server-name, for sentinels those of docs/deploy.md
            """
        case .incompleteCertificate: "the Redis URL names a certificate or a key, but not both: ?cert=file&key=file"
        case .unencodedLogin:
            "user and password of a Redis URL are percent-encoded: / as %2F, ? as %3F, # as %23, @ as %40"
        case .twoPasswords: "the Redis URL has a password and a password file: leave one of them out"
        case .severalServers:
            "the Redis URL names several servers: add ?topology=cluster, or use redis-sentinel:// for sentinels"
        case .unknownTopology: "the topology of a Redis URL is server or cluster"
        case .databaseOfCluster: "a cluster has database 0 only: leave the database out of the URL"
        case .missingSentinels: "the URL names no sentinel: redis-sentinel://host:26379,host:26379/primary-name"
        case .missingPrimaryName:
            "the URL does not name the primary: redis-sentinel://host:26379/primary-name, as in `sentinel monitor`"
        }
    }
}

// MARK: - Descriptions

extension RedisURL: CustomStringConvertible, CustomDebugStringConvertible {
    package var description: String {
        var login = user ?? ""
        if password != nil {
            login += ":***"
        }
        if !login.isEmpty {
            login += "@"
        }
        return switch endpoint {
        case .tcp(let host, let port):
            "redis\(tls == nil ? "" : "s")://\(login)\(host.contains(":") ? "[\(host)]" : host):\(port)/\(database)"
        case .unixSocket(let path):
            "redis+unix://\(login)\(path)?db=\(database)"
        }
    }

    package var debugDescription: String { description }
}

extension RedisURL.Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "***" }
    package var debugDescription: String { "***" }
    package var customMirror: Mirror { Mirror(self, children: EmptyCollection()) }
}

// MARK: - Parsing

extension RedisURL {
    private init(tcp text: Substring, isEncrypted: Bool) throws(RedisURLError) {
        let end = text.utf8.firstIndex { "/?#".utf8.contains($0) } ?? text.endIndex
        let (login, address) = RedisURL.splitLogin(text[..<end])
        let (host, port) = try RedisURL.hostAndPort(address)
        self.init(endpoint: .tcp(host: host, port: port))
        try logIn(login)

        let rest = text[end...]
        guard !rest.contains("#") else { throw .unexpectedQuery }
        let parts = RedisURL.split(rest, at: "?")
        database = try RedisURL.database((parts?.before ?? rest).dropFirst(), allowsEmpty: true)
        if isEncrypted {
            tls = try RedisURL.tls(parts?.after ?? "")
        } else if parts != nil {
            throw .unexpectedQuery
        }
    }

    private static func tls(_ query: Substring) throws(RedisURLError) -> RedisTLS {
        var files: [Substring: String] = [:]
        for item in query.split(separator: "&", omittingEmptySubsequences: false) where !query.isEmpty {
            guard let parts = split(item, at: "="), ["ca", "cert", "key"].contains(parts.before),
                files[parts.before] == nil, !parts.after.isEmpty
            else { throw .unexpectedQuery }
            files[parts.before] = try percentDecoded(parts.after)
        }
        switch (files["cert"], files["key"]) {
        case (nil, nil):
            return RedisTLS(authorities: files["ca"])
        case (let certificate?, let key?):
            return RedisTLS(authorities: files["ca"], identity: .init(certificate: certificate, key: key))
        case (nil, _?), (_?, nil):
            throw .incompleteCertificate
        }
    }

    private init(unixSocket text: Substring) throws(RedisURLError) {
        guard !text.contains("#") else { throw .unexpectedQuery }
        guard let slash = text.utf8.firstIndex(of: UInt8(ascii: "/")) else { throw .missingSocketPath }
        let (login, host) = RedisURL.splitLogin(text[..<slash])
        guard host.isEmpty else { throw .invalidHost }
        let parts = RedisURL.split(text[slash...], at: "?")
        let path = try RedisURL.percentDecoded(parts?.before ?? text[slash...])
        guard path != "/" else { throw .missingSocketPath }
        self.init(endpoint: .unixSocket(path: path))
        try logIn(login)

        if let query = parts?.after {
            guard query.hasPrefix("db=") else { throw .unexpectedQuery }
            database = try RedisURL.database(query.dropFirst(3), allowsEmpty: false)
        }
    }

    private mutating func logIn(_ login: Substring?) throws(RedisURLError) {
        (user, password) = try RedisURL.parts(ofLogin: login)
    }

    static func parts(ofLogin login: Substring?) throws(RedisURLError) -> (user: String?, password: Secret?) {
        guard let login else { return (nil, nil) }
        let parts = RedisURL.split(login, at: ":")
        let name = try RedisURL.percentDecoded(parts?.before ?? login)
        var password: Secret?
        if let text = parts?.after { password = Secret(try RedisURL.percentDecoded(text)) }
        return (name.isEmpty ? nil : name, password)
    }

    /// A password may hold an unescaped `@`, a host may not: the last one counts.
    static func splitLogin(_ authority: Substring) -> (login: Substring?, address: Substring) {
        guard let at = authority.utf8.lastIndex(of: UInt8(ascii: "@")) else { return (nil, authority) }
        return (authority[..<at], authority[authority.utf8.index(after: at)...])
    }

    static func hostAndPort(
        _ address: Substring,
        defaultPort: Int = 6379
    ) throws(RedisURLError) -> (String, Int) {
        var host = address
        var port: Substring?
        if address.hasPrefix("[") {
            guard let bracket = address.firstIndex(of: "]") else { throw .invalidHost }
            host = address[address.index(after: address.startIndex)..<bracket]
            let rest = address[address.index(after: bracket)...]
            guard host.contains(":"), rest.isEmpty || rest.hasPrefix(":") else { throw .invalidHost }
            port = rest.isEmpty ? nil : rest.dropFirst()
        } else if let parts = split(address, at: ":") {
            host = parts.before
            port = parts.after
        }
        guard !host.isEmpty else { throw .missingHost }
        guard let port else { return (String(host), defaultPort) }
        guard let number = decimal(port), (1...65_535).contains(number) else { throw .invalidPort }
        return (String(host), number)
    }

    static func database(_ text: Substring, allowsEmpty: Bool) throws(RedisURLError) -> Int {
        if text.isEmpty, allowsEmpty { return 0 }
        guard let number = decimal(text) else { throw .invalidDatabase }
        return number
    }

    /// Digits only: `Int` alone would take a sign.
    private static func decimal(_ text: Substring) -> Int? {
        guard text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else { return nil }
        return Int(text)
    }

    /// Looks at bytes: to Swift a separator and a combining character behind it are one character, which separates
    /// nothing.
    static func split(_ text: Substring, at separator: String) -> (before: Substring, after: Substring)? {
        guard let range = text.utf8.firstRange(of: separator.utf8) else { return nil }
        return (text[..<range.lowerBound], text[range.upperBound...])
    }

    static func percentDecoded(_ text: Substring) throws(RedisURLError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                guard let high = rest.popFirst(), let low = rest.popFirst(),
                    let upper = Character(Unicode.Scalar(high)).hexDigitValue,
                    let lower = Character(Unicode.Scalar(low)).hexDigitValue
                else { throw .invalidPercentEncoding }
                bytes.append(UInt8(upper << 4 | lower))
            } else {
                bytes.append(byte)
            }
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else { throw .invalidPercentEncoding }
        return decoded
    }
}

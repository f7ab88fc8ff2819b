/// Reads a deployment from a URL.
///
/// - `redis://` and `rediss://` with one address as ``RedisURL`` has them; with `?topology=cluster` also with several,
///   separated by commas: seeds of a cluster
/// - `redis-sentinel://[user[:password]@]host[:port],…/primary-name[/database]`, port 26379 by default, and
///   `rediss-sentinel://` likewise, by TLS to servers and sentinels
/// - `redis+unix://` as ``RedisURL`` has it
///
/// Query items, besides those of TLS: `password-file`, the servers' password in a file that is read at each login;
/// `server-name`, the name that the servers' certificates are for, instead of the host's; for sentinels
/// `sentinel-user`, `sentinel-password`, `sentinel-password-file`, `sentinel-tls=yes` or `no`, `sentinel-ca`,
/// `sentinel-cert`, `sentinel-key` and `sentinel-server-name`.
extension RedisTarget {
    package init(_ text: String) throws(RedisURLError) {
        guard let parts = RedisURL.split(text[...], at: "://") else { throw .missingScheme }
        do throws(RedisURLError) {
            switch parts.before.lowercased() {
            case "redis": try self.init(servers: URLText(parts.after), isEncrypted: false)
            case "rediss": try self.init(servers: URLText(parts.after), isEncrypted: true)
            case "redis-sentinel": try self.init(sentinels: URLText(parts.after), isEncrypted: false)
            case "rediss-sentinel": try self.init(sentinels: URLText(parts.after), isEncrypted: true)
            default: self.init(try RedisURL(text))
            }
        } catch {
            throw Self.holdsUnencodedLogin(parts.after) ? .unencodedLogin : error
        }
        if let fault { throw fault }
    }

    /// Of a URL that cannot be read: a slash, question mark or number sign before the at sign is mostly a password's.
    private static func holdsUnencodedLogin(_ text: Substring) -> Bool {
        guard let at = text.utf8.lastIndex(of: UInt8(ascii: "@")),
            let end = text.utf8.firstIndex(where: { "/?#".utf8.contains($0) })
        else { return false }
        return end < at
    }

    private init(servers text: URLText, isEncrypted: Bool) throws(RedisURLError) {
        var items = try URLItems(text.query, known: ["topology", "password-file"] + (isEncrypted ? Self.tlsItems : []))
        let addresses = try text.addresses(defaultPort: 6379)
        let deployment: RedisDeployment
        switch items.take("topology") {
        case "cluster": deployment = .cluster(seeds: addresses)
        case nil, "server":
            guard addresses.count == 1 else { throw .severalServers }
            deployment = .server(addresses[0])
        default: throw .unknownTopology
        }
        self.init(
            deployment,
            credentials: try text.credentials(file: items.take("password-file")),
            tls: isEncrypted ? try items.tls(prefix: "") : nil,
            database: try RedisURL.database(text.path.dropFirst(), allowsEmpty: true)
        )
    }

    private static let tlsItems = ["ca", "cert", "key", "server-name"]

    private init(sentinels text: URLText, isEncrypted: Bool) throws(RedisURLError) {
        let names = ["user", "password", "password-file", "tls"] + Self.tlsItems
        let known = ["password-file"] + names.map { "sentinel-\($0)" }
        var items = try URLItems(text.query, known: known + (isEncrypted ? Self.tlsItems : []))
        guard !text.authority.isEmpty else { throw .missingSentinels }
        let path = text.path.dropFirst().split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = path.first, !name.isEmpty else { throw .missingPrimaryName }

        let tls = isEncrypted ? try items.tls(prefix: "") : nil
        let own = try items.tls(prefix: "sentinel-")
        let sentinelTLS: RedisTLS?
        switch (items.take("sentinel-tls"), own == RedisTLS()) {
        case (nil, true):
            // The name is for the servers' certificates alone.
            sentinelTLS = tls.map { RedisTLS(authorities: $0.authorities, identity: $0.identity) }
        case (nil, false), ("yes", _): sentinelTLS = own
        case ("no", true): sentinelTLS = nil
        default: throw .unexpectedQuery
        }
        let user = items.take("sentinel-user")
        let password = items.take("sentinel-password")
        let file = items.take("sentinel-password-file")
        self.init(
            .sentinel(
                SentinelDeployment(
                    sentinels: try text.addresses(defaultPort: 26_379),
                    primary: try RedisURL.percentDecoded(name),
                    credentials: try RedisCredentials(
                        user: user,
                        secret: password.map { RedisURL.Secret($0) },
                        file: file
                    ),
                    tls: sentinelTLS
                )
            ),
            credentials: try text.credentials(file: items.take("password-file")),
            tls: tls,
            database: path.count > 1 ? try RedisURL.database(path[1], allowsEmpty: true) : 0
        )
    }
}

extension RedisURL {
    package var credentials: RedisCredentials? {
        guard user != nil || password != nil else { return nil }
        return RedisCredentials(source: .fixed(.init(user: user, secret: password)))
    }
}

extension RedisCredentials {
    /// `nil` if none are given.
    fileprivate init?(user: String?, secret: RedisURL.Secret?, file: String?) throws(RedisURLError) {
        guard user != nil || secret != nil || file != nil else { return nil }
        guard let file else {
            self.init(source: .fixed(Login(user: user, secret: secret)))
            return
        }
        guard secret == nil else { throw .twoPasswords }
        self.init(source: .file(user: user, path: file))
    }
}

/// What stands behind a URL's scheme, in its parts.
private struct URLText {
    var login: Substring?
    var authority: Substring
    var path: Substring
    var query: Substring

    init(_ text: Substring) throws(RedisURLError) {
        let end = text.utf8.firstIndex { "/?#".utf8.contains($0) } ?? text.endIndex
        (login, authority) = RedisURL.splitLogin(text[..<end])
        let rest = text[end...]
        guard !rest.utf8.contains(UInt8(ascii: "#")) else { throw .unexpectedQuery }
        let parts = RedisURL.split(rest, at: "?")
        path = parts?.before ?? rest
        query = parts?.after ?? ""
    }

    func addresses(defaultPort: Int) throws(RedisURLError) -> [RedisAddress] {
        var addresses: [RedisAddress] = []
        for address in authority.split(separator: ",", omittingEmptySubsequences: false) {
            let (host, port) = try RedisURL.hostAndPort(address, defaultPort: defaultPort)
            addresses.append(.tcp(host: host, port: port))
        }
        return addresses
    }

    func credentials(file: String?) throws(RedisURLError) -> RedisCredentials? {
        let (user, secret) = try RedisURL.parts(ofLogin: login)
        return try RedisCredentials(user: user, secret: secret, file: file)
    }
}

/// The items of a URL's query.
private struct URLItems {
    private var items: [String: String] = [:]

    init(_ query: Substring, known: [String]) throws(RedisURLError) {
        guard !query.isEmpty else { return }
        for item in query.split(separator: "&", omittingEmptySubsequences: false) {
            guard let parts = RedisURL.split(item, at: "="), known.contains(String(parts.before)),
                items[String(parts.before)] == nil, !parts.after.isEmpty
            else { throw .unexpectedQuery }
            items[String(parts.before)] = try RedisURL.percentDecoded(parts.after)
        }
    }

    mutating func take(_ name: String) -> String? {
        items.removeValue(forKey: name)
    }

    mutating func tls(prefix: String) throws(RedisURLError) -> RedisTLS {
        var tls = RedisTLS(authorities: take(prefix + "ca"), serverName: take(prefix + "server-name"))
        switch (take(prefix + "cert"), take(prefix + "key")) {
        case (nil, nil): break
        case (let certificate?, let key?): tls.identity = .init(certificate: certificate, key: key)
        case (nil, _?), (_?, nil): throw .incompleteCertificate
        }
        return tls
    }
}

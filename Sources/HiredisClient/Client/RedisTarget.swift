/// What a client connects to, and as whom.
package struct RedisTarget: Sendable {
    package var deployment: RedisDeployment
    /// How to log in to the servers; `nil` for not at all.
    package var credentials: RedisCredentials?
    /// How connections to the servers are encrypted; `nil` for not at all.
    package var tls: RedisTLS?
    package var database: Int

    package init(
        _ deployment: RedisDeployment,
        credentials: RedisCredentials? = nil,
        tls: RedisTLS? = nil,
        database: Int = 0
    ) {
        self.deployment = deployment
        self.credentials = credentials
        self.tls = tls
        self.database = database
    }

    package init(_ url: RedisURL) {
        self.init(.server(url.endpoint), credentials: url.credentials, tls: url.tls, database: url.database)
    }

    /// One of its servers.
    package func place(at address: RedisAddress) -> RedisPlace {
        RedisPlace(address: address, tls: tls, credentials: credentials, database: database)
    }

    /// What makes no sense before anything is connected; `nil` if there is nothing.
    package var fault: RedisURLError? {
        if tls != nil || sentinelTLS != nil, !RedisTLS.isBuiltIn { return .builtWithoutTLS }
        guard database >= 0 else { return .invalidDatabase }
        switch deployment {
        case .server: return nil
        case .sentinel(let sentinel):
            if sentinel.sentinels.isEmpty { return .missingSentinels }
            return sentinel.primary.isEmpty ? .missingPrimaryName : nil
        case .cluster(let seeds):
            if seeds.isEmpty { return .missingHost }
            return database == 0 ? nil : .databaseOfCluster
        }
    }

    private var sentinelTLS: RedisTLS? {
        if case .sentinel(let sentinel) = deployment { sentinel.tls } else { nil }
    }
}

extension RedisTarget: CustomStringConvertible, CustomDebugStringConvertible {
    /// As a URL, without passwords, and without what stands in its query.
    package var description: String {
        let login = credentials.map { $0.shown.isEmpty ? "" : $0.shown + "@" } ?? ""
        let secure = tls == nil ? "" : "s"
        switch deployment {
        case .server(let address):
            return place(at: address).description
        case .sentinel(let sentinel):
            let sentinels = sentinel.sentinels.map(\.description).joined(separator: ",")
            let database = database == 0 ? "" : "/\(database)"
            return "redis\(secure)-sentinel://\(login)\(sentinels)/\(sentinel.primary)\(database)"
        case .cluster(let seeds):
            let seeds = seeds.map(\.description).joined(separator: ",")
            return "redis\(secure)://\(login)\(seeds)/?topology=cluster"
        }
    }

    package var debugDescription: String { description }
}

/// One server, as a connection is made to it: credentials and encryption belong to the address, and go nowhere else.
package struct RedisPlace: Sendable {
    package var address: RedisAddress
    package var tls: RedisTLS?
    package var credentials: RedisCredentials?
    package var database: Int

    package init(
        address: RedisAddress,
        tls: RedisTLS? = nil,
        credentials: RedisCredentials? = nil,
        database: Int = 0
    ) {
        self.address = address
        self.tls = tls
        self.credentials = credentials
        self.database = database
    }
}

extension RedisPlace {
    /// What may be the matter if a connection to it ends before anything was heard.
    var hintOnSilence: String {
        guard tls == nil, case .tcp = address else { return "" }
        return " without a word: is TLS spoken on this port (rediss://)?"
    }
}

extension RedisPlace: CustomStringConvertible, CustomDebugStringConvertible {
    /// As a URL, without the password.
    package var description: String {
        let login = credentials.map { $0.shown.isEmpty ? "" : $0.shown + "@" } ?? ""
        return switch address {
        case .tcp: "redis\(tls == nil ? "" : "s")://\(login)\(address)/\(database)"
        case .unixSocket(let path): "redis+unix://\(login)\(path)?db=\(database)"
        }
    }

    package var debugDescription: String { description }
}

import Foundation
import HiredisClient
import Testing

/// Deployments as URLs.
@Suite struct RedisTargetTests {
    @Test(
        "a URL is shown as what it says, with defaults filled in and without its passwords",
        arguments: [
            ("redis://h", "redis://h:6379/0"),
            ("rediss://u:pw@h:1/2?ca=/c", "rediss://u:***@h:1/2"),
            ("redis+unix://u:pw@/s?db=3", "redis+unix://u:***@/s?db=3"),
            ("redis://h?topology=server", "redis://h:6379/0"),
            ("redis://u@h?password-file=/run/pw", "redis://u:***@h:6379/0"),
            ("redis://h?topology=cluster", "redis://h:6379/?topology=cluster"),
            ("redis://:pw@a:1,b,[::1]:7/?topology=cluster", "redis://:***@a:1,b:6379,[::1]:7/?topology=cluster"),
            ("rediss://a,b/0?topology=cluster&ca=/c", "rediss://a:6379,b:6379/?topology=cluster"),
            ("redis-sentinel://a/main", "redis-sentinel://a:26379/main"),
            ("redis-sentinel://u:pw@a:1,b/main/3", "redis-sentinel://u:***@a:1,b:26379/main/3"),
            ("REDIS-SENTINEL://a/my%2Fname/", "redis-sentinel://a:26379/my/name"),
            ("rediss-sentinel://a/main?ca=/c", "rediss-sentinel://a:26379/main"),
            ("redis-sentinel://a/main?sentinel-password=pw", "redis-sentinel://a:26379/main"),
        ]
    )
    func shown(text: String, shown: String) throws {
        let target = try RedisTarget(text)
        #expect("\(target)" == shown)
        var dumped = ""
        dump(target, to: &dumped)
        #expect(!dumped.contains("pw\""))
    }

    @Test(
        "a URL that cannot be used is refused for its reason, without quoting it",
        arguments: [
            ("h:6379", .missingScheme), ("http://secret", .unknownScheme), ("redis://", .missingHost),
            ("redis://a,b", .severalServers), ("redis://a,b?topology=server", .severalServers),
            ("redis://a,,b?topology=cluster", .missingHost), ("redis://a?topology=secret", .unknownTopology),
            ("redis://a/1?topology=cluster", .databaseOfCluster), ("redis://a?secret=1", .unexpectedQuery),
            ("redis://a?ca=secret", .unexpectedQuery), ("redis://a?password-file=", .unexpectedQuery),
            ("redis://:secret@a?password-file=/f", .twoPasswords), ("redis://u:secret/x@h", .unencodedLogin),
            ("redis://u:secret?x@h", .unencodedLogin), ("redis-sentinel://u:secret#x@h/main", .unencodedLogin),
            ("redis-sentinel://", .missingSentinels), ("redis-sentinel:///main", .missingSentinels),
            ("redis-sentinel://u:secret@/main", .missingSentinels), ("redis-sentinel://a", .missingPrimaryName),
            ("redis-sentinel://a/", .missingPrimaryName), ("redis-sentinel://a//1", .missingPrimaryName),
            ("redis-sentinel://a/main/x", .invalidDatabase), ("redis-sentinel://a/main/1/2", .invalidDatabase),
            ("redis-sentinel://a/main?ca=secret", .unexpectedQuery),
            ("redis-sentinel://a/main?sentinel-tls=secret", .unexpectedQuery),
            ("rediss-sentinel://a/main?sentinel-tls=no&sentinel-ca=/c", .unexpectedQuery),
            ("rediss-sentinel://a/main?sentinel-cert=secret", .incompleteCertificate),
            ("redis-sentinel://a/main?sentinel-password=secret&sentinel-password-file=/f", .twoPasswords),
        ] as [(String, RedisURLError)]
    )
    func malformed(text: String, reason: RedisURLError) {
        let error = #expect(throws: RedisURLError.self) { try RedisTarget(text) }
        #expect(error == reason)
        #expect(error.map { "\($0)".contains("secret") } == false)
    }

    @Test("sentinels have credentials of their own, and TLS unless told otherwise what the servers have")
    func sentinels() throws {
        func sentinel(_ text: String) throws -> (RedisTarget, SentinelDeployment) {
            let target = try RedisTarget(text)
            guard case .sentinel(let sentinel) = target.deployment else { throw RedisURLError.missingSentinels }
            return (target, sentinel)
        }
        let (plain, none) = try sentinel("redis-sentinel://u:pw@a/main")
        #expect(plain.credentials?.user == "u")
        #expect(none.credentials == nil && none.tls == nil && plain.tls == nil)

        let own = "sentinel-user=s&sentinel-password=x"
        let (both, named) = try sentinel("rediss-sentinel://u:pw@a/main?ca=/c&server-name=n&\(own)")
        #expect(both.credentials?.user == "u" && named.credentials?.user == "s")
        #expect(both.tls == RedisTLS(authorities: "/c", serverName: "n"))
        #expect(named.tls == RedisTLS(authorities: "/c"))

        #expect(try sentinel("rediss-sentinel://a/main?sentinel-tls=no").1.tls == nil)
        #expect(try sentinel("redis-sentinel://a/main?sentinel-tls=yes").1.tls == RedisTLS())
        let (unencrypted, encrypted) = try sentinel("redis-sentinel://a/main?sentinel-ca=/s&sentinel-server-name=n")
        #expect(unencrypted.tls == nil)
        #expect(encrypted.tls == RedisTLS(authorities: "/s", serverName: "n"))
    }

    @Test("a plain URL means what it meant before there were others")
    func plain() throws {
        for text in ["redis://u:p%40@h:1/2", "rediss://h?cert=c&key=k", "redis+unix://u@/s?db=1", "redis://[::1]"] {
            let (target, url) = (try RedisTarget(text), try RedisURL(text))
            guard case .server(url.endpoint) = target.deployment else {
                Issue.record("\(text) is no single server")
                continue
            }
            #expect(target.tls == url.tls && target.database == url.database)
            #expect("\(target)" == "\(url)")
        }
    }

    @Test("values without what is needed are refused as a URL is")
    func faults() {
        #expect(RedisTarget(.cluster(seeds: [])).fault == .missingHost)
        #expect(RedisTarget(.sentinel(.init(sentinels: [], primary: "main"))).fault == .missingSentinels)
        let address = RedisAddress.tcp(host: "a", port: 1)
        #expect(RedisTarget(.sentinel(.init(sentinels: [address], primary: ""))).fault == .missingPrimaryName)
        #expect(RedisTarget(.cluster(seeds: [address]), database: 1).fault == .databaseOfCluster)
        #expect(RedisTarget(.server(address), database: -1).fault == .invalidDatabase)
        #expect(RedisTarget(.server(address)).fault == nil)
    }
}

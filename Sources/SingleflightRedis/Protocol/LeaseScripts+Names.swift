import HiredisClient

extension LeaseScripts {
    /// The requests that are scripts, by their names in docs/protocol.md: for tools that look at commands from outside.
    package static let named: [(name: String, hash: String, source: String)] = scripts.map {
        (name: $0.0, hash: $0.1.body.hash, source: $0.1.body.source)
    }

    /// What a server is to know before it is sent a request.
    static let all = scripts.map(\.1)

    private static let scripts = [
        ("enter", enter), ("renew", renew), ("complete", complete), ("release", release), ("poll", poll),
        ("leave", leave), ("fence", fence), ("revoke", revoke), ("depend", depend), ("inspect", inspect),
        ("complete", completeLong), ("append", append), ("read", read),
    ]
}

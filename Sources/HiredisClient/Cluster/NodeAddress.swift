/// Where a node of a cluster takes connections.
package struct NodeAddress: Hashable, Sendable {
    package var host: String
    package var port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// An address as a redirection has it, `host:port`; `nil` for what is none.
    ///
    /// An IPv6 address stands there without brackets, so the last colon counts.
    ///
    /// - Parameter asked: the host that was asked, which is meant where the host is left open.
    init?(_ text: Substring, askedAt asked: String) {
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")), let port = Int(text[text.index(after: colon)...]),
            (1...65_535).contains(port)
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        self.init(host: Self.host(String(host), askedAt: asked), port: port)
    }

    /// What a node that does not know, or does not tell, where another one is puts in the place of the host: nothing,
    /// or a question mark. Then it is where the asked one is.
    static func host(_ told: String?, askedAt asked: String) -> String {
        guard let told, !told.isEmpty, told != "?" else { return asked }
        return told
    }
}

extension NodeAddress: CustomStringConvertible {
    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

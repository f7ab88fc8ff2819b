/// How a connection is encrypted: whom to trust, and what to show to a server that asks for a certificate. PEM files.
///
/// The server's certificate and its name are always checked; the name is the host's unless ``serverName`` says
/// otherwise. The files are read anew for every connection, so that renewed ones count from the next connection on.
public struct RedisTLS: Sendable, Hashable {
    /// A client's certificate and the key that belongs to it.
    public struct Identity: Sendable, Hashable {
        /// The file with the certificate, and behind it those of its issuers.
        public var certificate: String
        /// The file with the private key.
        public var key: String

        /// Names the two files.
        public init(certificate: String, key: String) {
            self.certificate = certificate
            self.key = key
        }
    }

    /// The file with the authorities that are trusted; `nil` for those of the system.
    public var authorities: String?
    /// What is shown to a server that asks for a certificate; `nil` for nothing.
    public var identity: Identity?
    /// The name that the server's certificate is for; `nil` for the host that is connected to. It is needed where that
    /// is an address, and the certificate is for a name: sentinels and clusters tell addresses.
    public var serverName: String?

    /// Whether this program can encrypt connections at all: whether it was built with the package's trait `TLS`.
    public static var isBuiltIn: Bool {
        #if TLS
            true
        #else
            false
        #endif
    }

    /// Encrypts; by default the system's authorities are trusted, and nothing is shown.
    public init(authorities: String? = nil, identity: Identity? = nil, serverName: String? = nil) {
        self.authorities = authorities
        self.identity = identity
        self.serverName = serverName
    }
}

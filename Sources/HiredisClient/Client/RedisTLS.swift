/// How a connection is encrypted: whom to trust, and what to show to a server that asks for a certificate. PEM files.
///
/// The server's certificate and its name are always checked. The files are read anew for every connection, so that
/// renewed ones count from the next connection on.
package struct RedisTLS: Sendable, Hashable {
    /// A client's certificate and the key that belongs to it.
    package struct Identity: Sendable, Hashable {
        /// The file with the certificate, and behind it those of its issuers.
        package var certificate: String
        /// The file with the private key.
        package var key: String

        package init(certificate: String, key: String) {
            self.certificate = certificate
            self.key = key
        }
    }

    /// The file with the authorities that are trusted; `nil` for those of the system.
    package var authorities: String?
    package var identity: Identity?

    /// Whether this program can encrypt connections at all: whether it was built with the package's trait `TLS`.
    package static var isBuiltIn: Bool {
        #if TLS
            true
        #else
            false
        #endif
    }

    package init(authorities: String? = nil, identity: Identity? = nil) {
        self.authorities = authorities
        self.identity = identity
    }
}

import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

#if TLS
    import NIOSSL

    extension RedisTLS {
        /// What encrypts one connection.
        typealias Context = NIOSSLContext

        /// Reads the files: not for an event loop.
        func makeContext() throws -> Context {
            // What the library says of a file that is not there does not name it.
            for file in [authorities, identity?.certificate, identity?.key].compactMap(\.self) {
                guard access(file, R_OK) == 0 else {
                    throw RedisFileError(path: file, reason: String(cString: strerror(errno)))
                }
            }
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.minimumTLSVersion = .tlsv12
            // A server that froze does not say goodbye either.
            configuration.shutdownTimeout = .seconds(1)
            if let authorities {
                // Read here and not by the context: a context that cannot be completed leaks its memory, once for each
                // attempt to connect.
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authorities))
            }
            if let identity {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(identity.certificate)
                    .map { .certificate($0) }
                configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: identity.key, format: .pem))
            }
            return try NIOSSLContext(configuration: configuration)
        }

        /// Puts what encrypts a connection to `host` into the channel's pipeline.
        static func encrypt(_ channel: any Channel, with context: Context, host: String) throws {
            // A certificate for an address is compared with the peer's; only a name is asked for by name.
            let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
            let handler = try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host)
            try channel.pipeline.syncOperations.addHandler(handler)
        }

        /// What went wrong, in words for the person who runs the program; `nil` if it has nothing to do with TLS.
        static func explanation(of error: any Error) -> String? {
            switch error {
            case let error as RedisFileError:
                error.description
            case is NIOSSLExtraError:
                "the server's certificate is not for its name: \(error)"
            case let error as NIOSSLError where error == .unableToValidateCertificate:
                "the server's certificate cannot be checked"
            case is NIOSSLError, is BoringSSLError:
                explanation(ofText: "\(error)")
            default:
                nil
            }
        }

        private static func explanation(ofText text: String) -> String {
            let reasons = [
                (
                    "CERTIFICATE_VERIFY_FAILED",
                    "the server's certificate is not trusted; ?ca=file in the URL says whom to trust"
                ),
                ("CERTIFICATE_REQUIRED", "the server wants a certificate: ?cert=file&key=file in the URL"),
                ("UNKNOWN_CA", "the server does not trust this client's certificate"),
                (
                    "WRONG_VERSION_NUMBER",
                    "the server does not speak TLS on this port: use its port for TLS, or redis://"
                ),
            ]
            for (mark, reason) in reasons where text.contains(mark) {
                return reason
            }
            return "TLS failed: \(text)"
        }
    }
#else
    extension RedisTLS {
        /// There is none: without the trait `TLS` no connection is encrypted, and none that should be is opened.
        struct Context: Sendable {
            private init() {}
        }

        func makeContext() throws -> Context { throw RedisURLError.builtWithoutTLS }

        static func encrypt(_ channel: any Channel, with context: Context, host: String) throws {}

        static func explanation(of error: any Error) -> String? { nil }
    }
#endif

/// A file that was named cannot be used.
struct RedisFileError: Error, CustomStringConvertible {
    let path: String
    let reason: String

    var description: String { "the file \(path) cannot be read: \(reason)" }
}

import ArgumentParser
import Foundation
import HiredisClient
import SingleflightRedis

/// Which Redis, and whose keys in it.
package struct ConnectionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Redis to talk to: redis://, rediss://, redis+unix:// or redis-sentinel://. (env: SINGLEFLIGHT_URL, else \(Self.defaultURL))",
            valueName: "url"
        )
    )
    var url: String?

    @Option(
        help: ArgumentHelp(
            "A file whose first line is the password, or a descriptor: /dev/fd/3. (env: SINGLEFLIGHT_PASSWORD_FILE)",
            valueName: "file"
        )
    )
    var passwordFile: String?

    @Option(
        help: ArgumentHelp(
            "Namespace the leases live in. (env: SINGLEFLIGHT_NAMESPACE, else \(Self.defaultNamespace))",
            valueName: "name"
        )
    )
    var namespace: String?

    @Option(
        help: ArgumentHelp(
            "A context of ~/.config/singleflight/contexts: URL and namespace under one name. (env: SINGLEFLIGHT_CONTEXT)",
            valueName: "name"
        )
    )
    var context: String?

    package init() {}

    static let defaultURL = "redis://127.0.0.1:6379"
    static let defaultNamespace = "default"

    package func resolvedURL(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String {
        url(in: inContext(environment))
    }

    /// - Parameter environment: as the context has it.
    private func url(in environment: [String: String]) -> String {
        let url = url ?? environment["SINGLEFLIGHT_URL"].nonEmpty ?? Self.defaultURL
        guard let file = passwordFile ?? environment["SINGLEFLIGHT_PASSWORD_FILE"].nonEmpty,
            // It was read when the command line was checked.
            let password = try? PasswordFile.password(in: file), !URLPassword.isIn(url)
        else { return url }
        return URLPassword.inserted(password, into: url)
    }

    package func resolvedNamespace(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String {
        namespace(in: inContext(environment))
    }

    private func namespace(in environment: [String: String]) -> String {
        namespace ?? environment["SINGLEFLIGHT_NAMESPACE"].nonEmpty ?? Self.defaultNamespace
    }

    /// Calls `body` with a store for commands that look and ask, and lead nothing.
    func withStore<Result>(
        publishesEvents: Bool = false,
        _ body: (RedisLeaseStore) async throws -> Result
    ) async throws -> Result {
        let configuration = RedisLeaseStoreConfiguration(
            namespace: resolvedNamespace(),
            label: "singleflight",
            publishesEvents: publishesEvents
        )
        return try await RedisLeaseStore.withConnection(to: resolvedURL(), configuration: configuration, body)
    }

    /// The environment as the context has it. What is wrong with that was told when the command line was checked.
    private func inContext(_ environment: [String: String]) -> [String: String] {
        (try? Contexts.applied(to: environment, named: context)) ?? environment
    }

    package func validate() throws {
        let environment: [String: String]
        do {
            environment = try Contexts.applied(to: ProcessInfo.processInfo.environment, named: context)
        } catch {
            throw ValidationError("\(error)")
        }
        let variable = environment["SINGLEFLIGHT_PASSWORD_FILE"].nonEmpty
        if let file = passwordFile ?? variable { _ = try PasswordFile.password(in: file) }
        try Self.check(url: url(in: environment), of: url == nil ? "SINGLEFLIGHT_URL" : "--url")
        if let url, URLPassword.shows(url) {
            ErrorLine.note(
                "warning: --url shows its password to everybody on this machine; use SINGLEFLIGHT_URL or --password-file"
            )
        }
        let namespace = namespace(in: environment)
        guard FlightKey.isName(namespace) else {
            throw ValidationError("a namespace is 1 to 64 of A-Z a-z 0-9 . _ - (not '\(namespace)')")
        }
    }

    /// A typing error is a usage error and not a failed connection.
    ///
    /// - Parameter name: the option or variable that the URL is from.
    static func check(url: String, of name: String) throws {
        do {
            _ = try RedisTarget(url)
        } catch {
            // Never quotes the URL: in a malformed one, a password can stand anywhere.
            throw ValidationError("\(name): \(error)")
        }
    }
}

/// How results are printed.
package enum OutputFormat: String, CaseIterable, ExpressibleByArgument, Sendable {
    case table, json, ndjson
}

package struct ColorOptions: ParsableArguments {
    @Option(help: "When to color: auto, always or never. NO_COLOR turns auto off.")
    var color = ColorChoice.auto

    package init() {}

    package func terminal(_ stream: StandardStream) -> Terminal {
        Terminal(descriptor: stream.descriptor, color: color, environment: ProcessInfo.processInfo.environment)
    }
}

package struct OutputOptions: ParsableArguments {
    @Option(help: "table, json (one document) or ndjson (one object a line).")
    var output = OutputFormat.table

    @OptionGroup var color: ColorOptions

    package init() {}
}

extension String? {
    /// nil for a variable that is set to nothing, which means the same as not set.
    fileprivate var nonEmpty: String? { self.flatMap { $0.isEmpty ? nil : $0 } }
}

import ArgumentParser
import Foundation

/// Which Redis, and whose keys in it.
package struct ConnectionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Redis to talk to: redis:// or redis+unix://. (env: SINGLEFLIGHT_URL, else \(Self.defaultURL))",
            valueName: "url"
        )
    )
    var url: String?

    @Option(
        help: ArgumentHelp(
            "Namespace the leases live in. (env: SINGLEFLIGHT_NAMESPACE, else \(Self.defaultNamespace))",
            valueName: "name"
        )
    )
    var namespace: String?

    package init() {}

    static let defaultURL = "redis://127.0.0.1:6379"
    static let defaultNamespace = "default"

    package func resolvedURL(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String {
        url ?? environment["SINGLEFLIGHT_URL"].nonEmpty ?? Self.defaultURL
    }

    package func resolvedNamespace(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String {
        namespace ?? environment["SINGLEFLIGHT_NAMESPACE"].nonEmpty ?? Self.defaultNamespace
    }

    package func validate() throws {
        let (url, namespace) = (resolvedURL(), resolvedNamespace())
        try RedisURL.validate(url)
        let allowed = namespace.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }
        guard allowed, (1...64).contains(namespace.count) else {
            throw ValidationError("a namespace is 1 to 64 of A-Z a-z 0-9 . _ - (not '\(SafeText.escape(namespace))')")
        }
    }
}

/// A first look at a URL, so that a typing error is a usage error and not a failed connection.
enum RedisURL {
    static let schemes = ["redis", "rediss", "redis+unix"]

    static func validate(_ url: String) throws {
        guard let scheme = schemes.first(where: { url.hasPrefix($0 + "://") }), url.count > scheme.count + 3 else {
            let shown = SafeText.escape(Redaction.withoutSecrets(url))
            throw ValidationError("'\(shown)' is no Redis URL: it starts with redis:// or redis+unix://")
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

    func terminal(_ stream: StandardStream) -> Terminal {
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

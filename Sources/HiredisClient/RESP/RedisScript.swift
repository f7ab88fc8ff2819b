/// A Lua script with its hash, made once and sent many times.
package struct RedisScript: Sendable, Hashable {
    /// One text of the script and the name Redis gives it.
    package struct Body: Sendable, Hashable {
        package let source: String
        /// SHA-1 of the source, as 40 hexadecimal digits.
        package let hash: String

        package init(_ source: String) {
            self.source = source
            hash = SHA1.hexadecimal(of: source.utf8)
        }
    }

    package let body: Body
    /// The same script without its `#!lua` line, for servers before 7.0, which do not compile it.
    package let legacyBody: Body?

    /// If the first line of `source` starts with `#!`, the rest becomes the legacy body.
    package init(_ source: String) {
        body = Body(source)
        legacyBody = RedisScript.withoutShebang(source).map { Body($0) }
    }

    private static func withoutShebang(_ source: String) -> String? {
        guard source.hasPrefix("#!") else { return nil }
        // The line's end stays, so that line numbers in error messages remain right.
        return String(source.drop { !$0.isNewline })
    }
}

/// One evaluation of a script on its way through the forms it may have to be sent in.
struct ScriptEvaluation: Sendable {
    enum Form: Sendable {
        /// By hash. Exits: source, if the server does not have it.
        case hash
        /// By source. Exits: source of the legacy body, if the server cannot read the shebang.
        case source
    }

    private let script: RedisScript
    private let keys: [RedisArgument]
    private let arguments: [RedisArgument]
    private(set) var usesLegacyBody: Bool
    private var form: Form

    init(
        _ script: RedisScript,
        keys: [RedisArgument],
        arguments: [RedisArgument],
        prefersLegacyBody: Bool,
        form: Form = .hash
    ) {
        self.script = script
        self.keys = keys
        self.arguments = arguments
        usesLegacyBody = prefersLegacyBody && script.legacyBody != nil
        self.form = form
    }

    var command: RedisCommand {
        let body = usesLegacyBody ? script.legacyBody ?? script.body : script.body
        return switch form {
        case .hash: RedisCommand(evaluation: "EVALSHA", script: body.hash, keys: keys, arguments: arguments)
        case .source: RedisCommand(evaluation: "EVAL", script: body.source, keys: keys, arguments: arguments)
        }
    }

    /// Moves to the form to send after `error`; `false` if the error is final. In every case where it moves, the server
    /// has not executed anything.
    mutating func advance(after error: RedisServerError) -> Bool {
        switch form {
        case .hash where error.isUnknownScript:
            form = .source
            return true
        case .source where !usesLegacyBody && script.legacyBody != nil && error.rejectsShebang:
            usesLegacyBody = true
            return true
        case .hash, .source:
            return false
        }
    }
}

import Foundation

/// Servers and namespaces under names that people choose: what a file says between the command line and the defaults.
///
/// ```
/// default = staging
///
/// [staging]
/// url = redis://operator@redis.staging:6379
/// password-file = /home/me/.config/singleflight/staging.password
/// namespace = shop
/// ```
struct Contexts: Equatable {
    struct Failure: Error, Equatable, CustomStringConvertible {
        let description: String
    }

    /// The variable that stands for each setting: what a context says is as if the environment said it.
    private static let variables = [
        "url": "SINGLEFLIGHT_URL", "namespace": "SINGLEFLIGHT_NAMESPACE",
        "password-file": "SINGLEFLIGHT_PASSWORD_FILE",
    ]

    /// What is used where none is named.
    private(set) var defaultName: String?
    /// Variables and their values, by the context's name.
    private(set) var contexts: [String: [String: String]] = [:]

    /// - Throws: ``Failure`` that names the line, and quotes nothing of it: it may hold a password.
    init(_ text: String) throws(Failure) {
        var section: String?
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.isEmpty || line.hasPrefix("#") { continue }
            if line.hasPrefix("["), line.hasSuffix("]") {
                let name = String(line.dropFirst().dropLast())
                section = name
                contexts[name] = [:]
                continue
            }
            guard let equals = line.firstIndex(of: "=") else {
                throw Failure(description: "line \(index + 1) is neither [a name] nor a setting")
            }
            let name = line[..<equals].trimmingCharacters(in: .whitespaces)
            let value = line[line.index(after: equals)...].trimmingCharacters(in: .whitespaces)
            if let section, let variable = Self.variables[name] {
                contexts[section]?[variable] = value
            } else if section == nil, name == "default" {
                defaultName = value
            } else {
                throw Failure(description: "line \(index + 1) sets what is no setting there")
            }
        }
        if let defaultName, contexts[defaultName] == nil {
            throw Failure(description: "the default context '\(defaultName)' is not in it")
        }
    }

    /// Where the file is looked for.
    static func path(_ environment: [String: String]) -> String? {
        if let path = environment["SINGLEFLIGHT_CONFIG"], !path.isEmpty { return path }
        if let directory = environment["XDG_CONFIG_HOME"], !directory.isEmpty {
            return directory + "/singleflight/contexts"
        }
        guard let home = environment["HOME"], !home.isEmpty else { return nil }
        return home + "/.config/singleflight/contexts"
    }

    /// The environment with what the context adds to it.
    ///
    /// A context that is named, by the option or by SINGLEFLIGHT_CONTEXT, goes before the variables; the default one
    /// only fills in what they do not say.
    ///
    /// - Throws: ``Failure`` if there is no such context, or the file makes no sense.
    static func applied(to environment: [String: String], named option: String?) throws(Failure) -> [String: String] {
        let name = option ?? environment["SINGLEFLIGHT_CONTEXT"].flatMap { $0.isEmpty ? nil : $0 }
        let path = path(environment)
        guard let path, let data = FileManager.default.contents(atPath: path) else {
            guard let name else { return environment }
            let place = path.map { "\($0) cannot be read" } ?? "nobody knows where HOME is"
            throw Failure(description: "no context '\(name)': \(place)")
        }
        let contexts: Contexts
        do {
            contexts = try Contexts(String(decoding: data, as: UTF8.self))
        } catch {
            throw Failure(description: "\(path): \(error)")
        }
        guard let chosen = name ?? contexts.defaultName else { return environment }
        guard let context = contexts.contexts[chosen] else {
            let known = contexts.contexts.keys.sorted().joined(separator: ", ")
            throw Failure(
                description: "no context '\(chosen)' in \(path), it has: \(known)"
            )
        }
        return name == nil
            ? context.merging(environment.filter { !$0.value.isEmpty }) { $1 } : environment.merging(context) { $1 }
    }
}

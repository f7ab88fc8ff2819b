/// What the origin knows: how often each key was asked for, and how it is to behave. No I/O.
package struct OriginState: Sendable {
    /// What to do with a GET.
    package enum Decision: Equatable, Sendable {
        case answer(hit: Int)
        case fail(hit: Int)
        /// Answer when the key is released.
        case hold(hit: Int)
    }

    private var hits: [String: Int] = [:]
    private var held: Set<String> = []
    private var broken: Set<String> = []

    package init() {}

    /// Counts a GET of `key` and says what becomes of it.
    package mutating func get(_ key: String) -> Decision {
        let hit = hits[key, default: 0] + 1
        hits[key] = hit
        if matches(held, key) { return .hold(hit: hit) }
        return afterHold(key, hit: hit)
    }

    /// What becomes of a GET once nothing holds it any more.
    package func afterHold(_ key: String, hit: Int) -> Decision {
        matches(broken, key) ? .fail(hit: hit) : .answer(hit: hit)
    }

    /// GETs of keys that begin with `prefix` wait until it is released.
    package mutating func hold(_ prefix: String) { held.insert(prefix) }

    package mutating func release(_ prefix: String) { held.remove(prefix) }

    /// GETs of keys that begin with `prefix` fail from now on.
    package mutating func fail(_ prefix: String) { broken.insert(prefix) }

    /// GETs of keys that begin with `prefix` succeed again.
    package mutating func mend(_ prefix: String) { broken.remove(prefix) }

    /// Hits of every key that begins with `prefix`.
    package func hits(under prefix: String) -> [String: Int] { hits.filter { $0.key.hasPrefix(prefix) } }

    private func matches(_ prefixes: Set<String>, _ key: String) -> Bool {
        prefixes.contains { key.hasPrefix($0) }
    }
}

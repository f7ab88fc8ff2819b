/// Variables as a process has them: entries of bytes in an order, among which may be such as no name can be read from.
package struct EnvironmentBlock: Sendable {
    package private(set) var entries: [[UInt8]]

    package init(_ entries: [[UInt8]]) { self.entries = entries }

    /// The first entry counts, and the only one there is once the variable was set.
    package subscript(name: String) -> [UInt8]? {
        get {
            let prefix = Array("\(name)=".utf8)
            return entries.first { $0.starts(with: prefix) }.map { Array($0.dropFirst(prefix.count)) }
        }
        set {
            let prefix = Array("\(name)=".utf8)
            entries.removeAll { $0.starts(with: prefix) }
            if let newValue { entries.append(prefix + newValue) }
        }
    }

    package mutating func set(_ name: String, to value: String) { self[name] = Array(value.utf8) }
}

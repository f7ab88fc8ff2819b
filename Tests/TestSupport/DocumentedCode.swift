package import Foundation

/// The Swift code that a page shows, to be compared with the code that a test compiles and runs.
package struct DocumentedCode {
    /// The repository.
    package static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// The page, by its path in the repository.
    package var page: String
    /// Its blocks of Swift, each as its lines without indentation. Manifests are left out: they begin with `//
    /// Package.swift`, or with the version of the tools.
    package var blocks: [[String]]

    package init(page: String) throws {
        let text = try String(contentsOf: Self.root.appending(path: page), encoding: .utf8)
        self.page = page
        self.blocks = text.components(separatedBy: "```swift\n").dropFirst()
            .compactMap { $0.components(separatedBy: "\n```").first }
            .filter { !$0.hasPrefix("// Package.swift") && !$0.hasPrefix("// swift-tools-version") }
            .map(Self.lines)
    }

    /// The blocks that stand in none of the sources as they are, in one piece: but for expectations, which a page may
    /// leave out.
    package func missing(in sources: [[String]]) -> [[String]] {
        let bare = sources.map { $0.filter { !$0.hasPrefix("#expect") && !$0.hasPrefix("Issue.record") } }
        return self.blocks.filter { block in !(sources + bare).contains { $0.contains(block) } }
    }

    /// The lines of a source file, as those of blocks are compared with them.
    package static func source(_ path: String) throws -> [String] {
        self.lines(try String(contentsOf: self.root.appending(path: path), encoding: .utf8))
    }

    /// Imports stand elsewhere in a test, and a function within a function has to say that it is sendable.
    private static func lines(_ text: String) -> [String] {
        text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { !$0.isEmpty && !$0.hasPrefix("import ") && $0 != "@Sendable" }
    }
}

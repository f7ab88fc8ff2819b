import Foundation
import Testing

@Suite("Dependencies")
struct DependencyTests {
    private var root: URL {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    }

    @Test("no source file of the core imports anything but Synchronization")
    func imports() throws {
        let folder = self.root.appending(path: "Sources/Singleflight")
        let names = try #require(FileManager.default.enumerator(atPath: folder.path)).compactMap { $0 as? String }
        let sources = names.filter { $0.hasSuffix(".swift") }
        #expect(sources.contains("Group.swift"))
        for name in sources {
            let text = try String(contentsOf: folder.appending(path: name), encoding: .utf8)
            for line in text.split(separator: "\n") {
                let words = line.split(separator: " ")
                guard let index = words.firstIndex(of: "import"), !line.hasPrefix("//") else { continue }
                guard words[..<index].allSatisfy({ $0.hasPrefix("@") || $0 == "public" }) else { continue }
                #expect(words[(index + 1)...] == ["Synchronization"], "\(name): \(line)")
            }
        }
    }

    @Test("the core's target in the manifest has no dependencies")
    func manifest() throws {
        let text = try String(contentsOf: self.root.appending(path: "Package.swift"), encoding: .utf8)
        let start = try #require(text.firstRange(of: #".target(name: "Singleflight","#)?.lowerBound)
        var depth = 0
        let target = text[start...].prefix { character in
            if character == "(" { depth += 1 }
            if character == ")" { depth -= 1 }
            return character != ")" || depth > 0
        }
        #expect(target.contains("swiftSettings"))
        #expect(!target.contains("dependencies"))
        #expect(!target.contains("plugins"))
    }
}

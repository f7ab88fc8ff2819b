import Foundation
import Logging
import SingleflightLease
import Testing

@testable import SingleflightRedis

/// docs/observability.md, as far as tests read it.
enum ObservabilityDocument {
    static var root: URL {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
    }

    static func lines() throws -> [String] {
        try String(contentsOf: self.root.appending(path: "docs/observability.md"), encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// The messages of the table of log lines, and the level of each.
    static func logLines() throws -> [String: Logger.Level] {
        var found: [String: Logger.Level] = [:]
        for line in try self.lines() {
            let row = /\| (trace|debug|info|notice|warning|error|critical) \| `([^`]+)` \|.*/
            guard let match = try row.wholeMatch(in: line), let level = Logger.Level(rawValue: String(match.1))
            else { continue }
            found[String(match.2)] = level
        }
        return found
    }
}

@Suite("docs/observability.md")
struct ObservabilityDocumentTests {
    @Test("its table of metrics is what the code declares")
    func metrics() throws {
        let declared = (GroupMetric.all + StoreMetric.all).map(\.row)
        let documented = try ObservabilityDocument.lines().filter { $0.hasPrefix("| `singleflight_") }
        #expect(documented == declared)
    }

    @Test("rules and dashboard look at metrics that there are", arguments: ["alerts.yml", "dashboard.json"])
    func prometheus(_ file: String) throws {
        let text = try String(
            contentsOf: ObservabilityDocument.root.appending(path: "docs/prometheus/" + file),
            encoding: .utf8
        )
        let declared = GroupMetric.all + StoreMetric.all
        let known = Set(declared.map(\.name) + declared.filter { $0.kind == .timer }.map { $0.name + "_bucket" })
        let used = Set(text.matches(of: /singleflight_[a-z_]+/).map { String($0.0) })
        #expect(used.count >= 7)
        #expect(used.subtracting(known).isEmpty)
    }

    @Test("its table of log lines is what the sources log, in static words, at the same level")
    func logLines() throws {
        let sources = ObservabilityDocument.root.appending(path: "Sources")
        var logged: [String: Logger.Level] = [:]
        let call = /(?:logger|Logger)\??\.(trace|debug|info|notice|warning|error|critical)\(\s*("[^"]*"|[^\s])/
        let libraries = ["HiredisClient", "Singleflight", "SingleflightLease", "SingleflightRedis"]
        for library in libraries {
            let folder = sources.appending(path: library)
            let names = try #require(FileManager.default.enumerator(atPath: folder.path)).compactMap { $0 as? String }
            for name in names where name.hasSuffix(".swift") {
                let text = try String(contentsOf: folder.appending(path: name), encoding: .utf8)
                for match in text.matches(of: call) {
                    let literal = match.2
                    #expect(literal.hasPrefix("\"") && !literal.contains("\\"), "\(name): \(match.0) is not static")
                    let message = literal.trimmingCharacters(in: ["\""])
                    #expect(message == message.lowercased(), "\(name): \(message)")
                    #expect(logged[message] == nil, "\(name): \(message) is logged twice")
                    logged[message] = Logger.Level(rawValue: String(match.1))
                }
            }
        }
        #expect(logged.count > 5)
        #expect(try ObservabilityDocument.logLines() == logged)
    }
}

import Foundation
import Testing

/// docs/failures.md names the test for each known fault. Here it is held to that.
@Suite("The page of known faults")
struct FailuresPageTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// How many entries each chapter has.
    private static let chapters = ["A": 27, "B": 36, "C": 37, "D": 18, "E": 21, "F": 15, "G": 10, "H": 20, "I": 9]

    private struct Row {
        var entry: String
        var here: String
        var shownBy: String
    }

    private static func rows() throws -> [Row] {
        let page = try String(contentsOf: root.appending(path: "docs/failures.md"), encoding: .utf8)
        return page.split(separator: "\n").compactMap { line in
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            guard cells.count == 6, cells[1].wholeMatch(of: /[A-I][0-9]+/) != nil else { return nil }
            return Row(entry: cells[1], here: cells[3], shownBy: cells[4])
        }
    }

    /// All of the tests' sources, those of the conformance suite, and the planted bugs.
    private static func sources() throws -> [String] {
        var texts: [String] = []
        for folder in ["Tests", "Sources/SingleflightTestKit", "Verification"] {
            let folder = root.appending(path: folder)
            for file in try FileManager.default.subpathsOfDirectory(atPath: folder.path)
            where file.hasSuffix(".swift") || file.hasSuffix("mutants.txt") || file.hasSuffix("bugs.txt") {
                guard !file.hasSuffix("FailuresPageTests.swift") else { continue }
                texts.append(try String(contentsOf: folder.appending(path: file), encoding: .utf8))
            }
        }
        return texts
    }

    @Test("has every entry once, each with a test or with the reason why there is none")
    func complete() throws {
        let rows = try Self.rows()
        let expected = Self.chapters.flatMap { chapter, count in (1...count).map { "\(chapter)\($0)" } }
        #expect(rows.map(\.entry).sorted() == expected.sorted())
        for row in rows where row.shownBy.isEmpty {
            #expect(row.here.hasPrefix("non-goal"), "\(row.entry) has neither test nor reason")
        }
    }

    @Test("names only what exists")
    func exists() throws {
        let sources = try Self.sources()
        for row in try Self.rows() {
            for match in row.shownBy.matches(of: /`([A-Z][A-Za-z]+)\.([a-zA-Z]+)`/) {
                let (suite, function) = (match.output.1, match.output.2)
                guard suite != "FailuresPageTests" else { continue }
                // In one file: another suite may have a function of that name.
                let exists = sources.contains {
                    ($0.contains("struct \(suite) ") || $0.contains("struct \(suite):"))
                        && $0.contains("func \(function)(")
                }
                #expect(exists, "\(row.entry): no \(suite).\(function)")
            }
            for match in row.shownBy.matches(of: /“([^”]+)”/) {
                let exists = sources.contains { $0.contains(match.output.1) }
                #expect(exists, "\(row.entry): nothing is called \(match.output.1)")
            }
        }
    }

    @Test("is right about hiredis: its asynchronous layer is not even included")
    func noAsynchronousHiredis() throws {
        let folder = Self.root.appending(path: "Sources/CHiredis")
        for file in try FileManager.default.subpathsOfDirectory(atPath: folder.path) {
            let text = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
            #expect(!text.contains("async"))
        }
    }
}

import Foundation
import History
import SingleflightRedis

/// What the workers of one chunk asked the store about some of the keys, and were answered.
///
/// Each worker writes a file of its own, line by line before a request is sent and when it is answered: what a killed
/// worker has written is there.
struct SoakHistory {
    let directory: String
    private let history = LeaseHistory()

    /// What came of it.
    struct Verdict {
        var keys = 0
        var requests = 0
        var violations: [String] = []
    }

    /// - Parameter directory: is made anew.
    init(directory: String) throws {
        self.directory = directory
        try? FileManager.default.removeItem(atPath: directory)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    /// Every twenty-first of the keys that are not hot, of both groups: an order is searched for among all requests for
    /// a key, and for a hot one there are thousands. Their values are never big, for a history has all of a value.
    static func isRecorded(_ key: FlightKey) -> Bool {
        Int(String(decoding: key.bytes.dropFirst("key:".utf8.count), as: UTF8.self)).map(isRecorded) ?? false
    }

    static func isRecorded(number: Int) -> Bool { number >= 20 && number.isMultiple(of: 21) }

    /// For a worker: a history that is written to `path`, and not kept.
    static func writing(to path: String) throws -> LeaseHistory {
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let file = FileHandle(forWritingAtPath: path)
        else { throw CocoaError(.fileWriteUnknown) }
        return LeaseHistory(keepsLines: false) { line in
            // A line that cannot be written is missed by the reader: the answers to others do not fit then.
            try? file.write(contentsOf: Data((line + "\n").utf8))
        }
    }

    /// The server loses all that it knows, at some time within `body`.
    func losing(_ body: () async throws -> Void) async rethrows {
        self.history.beginLoss()
        defer { self.history.endLoss() }
        try await body()
    }

    /// Reads what all workers wrote; to be called when they are gone.
    func judge() throws -> Verdict {
        for name in try FileManager.default.contentsOfDirectory(atPath: self.directory) {
            let data = FileManager.default.contents(atPath: "\(self.directory)/\(name)") ?? Data()
            for line in data.split(separator: UInt8(ascii: "\n")) {
                self.history.read(String(decoding: line, as: UTF8.self))
            }
        }
        let records = self.history.records
        return Verdict(
            keys: Set(records.map(\.key)).count,
            requests: records.count,
            violations: self.history.violations()
        )
    }
}

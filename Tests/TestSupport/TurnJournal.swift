import Foundation
import Synchronization
import Testing

/// Notes when each test waits for its turn and when it begins, for `scripts/test`: Swift Testing knows only the former.
///
/// It is kept where `SINGLEFLIGHT_TEST_JOURNAL` says.
final class TurnJournal: Sendable {
    static let shared = ProcessInfo.processInfo.environment["SINGLEFLIGHT_TEST_JOURNAL"].flatMap(TurnJournal.init)

    private let file: Mutex<FileHandle>

    private init?(path: String) {
        guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path)
        else { return nil }
        self.file = Mutex(file)
    }

    /// Writes a line with what the test does, the time in seconds since 1970, and the test's identifier.
    func note(_ what: String, _ test: Test) {
        let line = "\(what)\t\(Date.now.timeIntervalSince1970)\t\(test.id)\n"
        self.file.withLock { try? $0.write(contentsOf: Data(line.utf8)) }
    }
}

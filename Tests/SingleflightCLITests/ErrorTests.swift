import Foundation
import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightCLI

@Suite("Errors", .usesServer)
struct ErrorTests {
    @Test(
        "a password never gets into a message",
        arguments: [
            ("redis://user:secret@host:1/0", "redis://user:***@host:1/0"),
            ("redis://:secret@host", "redis://:***@host"),
            ("cannot reach rediss://u:s/e@cret@h: refused", "cannot reach rediss://u:***@h: refused"),
            ("redis://host:6379/0", "redis://host:6379/0"),
            ("redis+unix:///run/redis.sock?db=1&password=secret", "redis+unix:///run/redis.sock?db=1&password=***"),
            ("redis://u@h?password=secret&db=1", "redis://u@h?password=***&db=1"),
            ("mail me@example.org: fine", "mail me@example.org: fine"),
            // Characters that join with the next or the one before hid what separates: the password was shown.
            ("redis://u:secret\u{6DD}@h", "redis://u:***@h"),
            ("redis://u:\u{301}secret@h", "redis://u:***@h"),
            ("redis://u@h?password=\u{301}secret\u{6DD}&db=1", "redis://u@h?password=***&db=1"),
        ]
    )
    func redaction(_ text: String, _ redacted: String) {
        #expect(Array(Redaction.withoutSecrets(text).utf8) == Array(redacted.utf8))
        #expect(CommandFailure(text).description == redacted)
    }

    @Test("each kind of error has its status")
    func statuses() {
        #expect(CommandFailure(describing: CommandFailure("x", status: .notFound)).status == .notFound)
        #expect(CommandFailure(describing: PrivateRedisError.redisServerNotFound).status == .unavailable)
        #expect(CommandFailure(describing: CancellationError()).status == .canceled)
        #expect(CommandFailure(describing: OriginFailure(description: "x")).status == .failure)
    }

    @Test("the numbers of the statuses are what the documentation says")
    func numbers() {
        let numbers: [SingleflightCLI.ExitStatus: Int32] = [
            .success: 0, .failure: 1, .notFound: 2, .usage: 64, .unavailable: 69, .canceled: 75, .refused: 77,
            .timeout: 124, .interrupted: 130, .terminated: 143,
        ]
        #expect(numbers.allSatisfy { $0.key.rawValue == $0.value })
    }

    @Test("what others wrote into a message can neither move the cursor nor forge a line")
    func injection() {
        let reason = "\u{1B}]0;x\u{7}\nsingleflight: all is well\u{202E}\u{9B}2J"
        let failure = CommandFailure("'job' was canceled: revoked by \(reason)")
        #expect(failure.description.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) })
        #expect(failure.description.hasSuffix(#"revoked by \e]0;x\u{7}\nsingleflight: all is well\u{202e}\u{9b}2J"#))
        // What is safe already stays as it is.
        #expect(CommandFailure(failure.description).description == failure.description)
    }

    @Test(
        "JSON holds nothing raw that a terminal would obey",
        arguments: ["\u{7F}", "\u{9B}", "\u{85}", "\u{202E}", "\u{2066}"]
    )
    func json(_ text: String) throws {
        for json in [try JSONText.document([text]), try JSONText.line([text]), try JSONText.lines([[text]])] {
            #expect(!json.unicodeScalars.contains { text.unicodeScalars.contains($0) })
            #expect(try JSONText.decode([String].self, from: json) == [text])
        }
    }

    @Test("bytes that are no text survive the way through text, and two different ones stay two")
    func byteText() {
        let samples: [[UInt8]] = [
            [], [0x61], [0xFF], [0xC3, 0x28], [0xE2, 0x82], [0xED, 0xA0, 0x80], Array("größe 👩‍👧".utf8),
            // The characters themselves that stand for bytes.
            Array("\u{10F7FF}".utf8), [0xF4, 0x8F, 0x9F, 0xBF, 0xFF],
        ]
        for bytes in samples { #expect(ByteText.bytes(ByteText.text(bytes)) == bytes) }
        #expect(Set(samples.map { ByteText.text($0) }).count == samples.count)
        #expect(ByteText.text(Array("größe".utf8)) == "größe")
    }

    @Test(
        "a key is shown so that it can be pasted into a shell",
        arguments: [
            ("front page", "'front page'"), ("it's", "$'it\\'s'"), ("a\\b", "$'a\\\\b'"), ("a\n\u{7}", "$'a\\n\\x07'"),
        ]
    )
    func shellWord(_ key: String, _ word: String) {
        #expect(ShellWord.quoted(key) == word)
    }

    @Test("the table of the documentation is the one in the code")
    func documentedStatuses() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let page = try String(contentsOf: root.appending(path: "docs/cli.in.md"), encoding: .utf8)
        for row in SingleflightCLI.ExitStatus.table {
            #expect(page.contains("\n| \(row.status.rawValue) | \(row.meaning) |\n"))
        }
    }

    @Test("an error of several lines becomes one")
    func oneLine() {
        #expect(!CommandFailure(describing: PrivateRedisError.redisServerNotFound).description.contains("\n"))
    }
}

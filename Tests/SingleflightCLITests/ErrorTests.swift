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

    @Test("an error of several lines becomes one")
    func oneLine() {
        #expect(!CommandFailure(describing: PrivateRedisError.redisServerNotFound).description.contains("\n"))
    }
}

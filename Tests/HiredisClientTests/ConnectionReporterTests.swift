import Logging
import ObservabilityTestSupport
import Testing

@testable import HiredisClient

@Suite("What is told of a connection")
struct ConnectionReporterTests {
    private let log = LogRecord()

    private func reporter() throws -> ConnectionReporter {
        let url = try RedisURL("redis://worker:secret@127.0.0.1:6379")
        let configuration = RedisClientConfiguration(url: url)
        return ConnectionReporter(configuration: configuration, purpose: .inbox, logger: self.log.logger)
    }

    private let unreachable = RedisClientError(.connectionFailed, "connection refused")
    private let refused = RedisClientError(.authenticationFailed, "the server refused the credentials")

    @Test("an outage is one warning, however many attempts it takes")
    func outage() throws {
        var reporter = try self.reporter()
        reporter.connected(attempt: 1)
        reporter.failed(self.unreachable, wasConnected: true, retryIn: .zero)
        for _ in 0..<5 { reporter.failed(self.unreachable, wasConnected: false, retryIn: .zero) }
        reporter.connected(attempt: 7)
        let lines = self.log.lines.filter { $0.level > .debug }
        #expect(lines.map(\.level) == [.info, .info, .warning, .info])
        #expect(lines.allSatisfy { $0.metadata["sf_connection"] == "inbox" })
    }

    @Test("another reason is another warning")
    func reasons() throws {
        var reporter = try self.reporter()
        for error in [self.unreachable, self.unreachable, self.refused, self.refused] {
            reporter.failed(error, wasConnected: false, retryIn: .zero)
        }
        #expect(self.log.lines.filter { $0.level == .warning }.count == 2)
    }

    @Test("the address is told without the password")
    func address() throws {
        var reporter = try self.reporter()
        reporter.connected(attempt: 1)
        let line = try #require(self.log.lines.first)
        #expect(line.metadata["sf_url"] == "redis://worker:***@127.0.0.1:6379/0")
    }
}

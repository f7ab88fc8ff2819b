import Logging
import ObservabilityTestSupport
import SingleflightTestKit
import Testing

@testable import SingleflightLease

@Suite("What a group logs", .timeLimit(.minutes(4)))
struct LogTests {
    let cluster: Cluster
    let work = Work()
    let observed = Observed()

    init() throws {
        self.cluster = try Cluster()
    }

    private func process(_ label: String) throws -> Process {
        try self.cluster.process(label, .test { $0.observability = self.observed.observability })
    }

    @Test("a call is told at debug level when it ends, with its role, its outcome and its flight, without its key")
    func call() async throws {
        let a = try self.process("a")
        self.work.finish()
        let completion = try await a.call(self.work).value.completion()
        let line = try #require(self.observed.log.lines.first { $0.message == "call ended" })
        #expect(line.level == .debug)
        #expect(line.metadata["sf_group"] == "group")
        #expect(line.metadata["sf_role"] == "leader")
        #expect(line.metadata["sf_outcome"] == "value")
        #expect(line.metadata["sf_token"] == completion.token?.description)
        #expect(line.metadata["sf_key"] == nil)
    }

    @Test("a call whose flight was canceled is told with the reason")
    func canceled() async throws {
        let a = try self.process("a")
        let leader = a.call(self.work)
        await self.work.untilStarted()
        a.cutOff()
        self.cluster.clock.advance(by: .seconds(3))
        _ = await leader.value
        let line = try #require(self.observed.log.lines.first { $0.message == "call ended" })
        #expect(line.metadata["sf_outcome"] == "canceled")
        #expect(line.metadata["sf_reason"] == "lease-expired")
    }

    @Test("of one flight nothing is told above debug level, even if its lease is lost")
    func quiet() async throws {
        let a = try self.process("a")
        let leader = a.call(self.work)
        await self.work.untilStarted()
        a.cutOff()
        self.cluster.clock.advance(by: .seconds(3))
        _ = await leader.value
        let lines = self.observed.log.lines
        #expect(lines.contains { $0.message == "lease lost" })
        #expect(lines.allSatisfy { $0.level <= .debug })
    }

    @Test("an outage is one warning, however many calls go without the store, and its end is told once")
    func outage() async throws {
        let a = try self.process("a")
        self.work.finish()
        a.store.onRequest { _ in .requestLost(LeaseStoreError(.protocolViolation, "no")) }
        for _ in 0..<5 { _ = await a.call(self.work).value }
        a.store.onRequest { _ in .none }
        for _ in 0..<5 { _ = await a.call(self.work).value }
        let lines = self.observed.log.lines.filter { $0.level > .debug }
        #expect(lines.map(\.level) == [.warning, .info])
        #expect(
            lines.map(\.message) == [
                "calls go without the store: it cannot be asked", "calls are coordinated by the store again",
            ]
        )
    }

    @Test("a key that is named cannot make one line look like two, nor fill the log")
    func hostileKey() async throws {
        let observability = self.observed.observability(namesKeys: true)
        let a = try self.cluster.process("a", .test { $0.observability = observability })
        _ = try await a.group.value("a\nb\u{1B}[2J" + String(repeating: "c", count: 1000)) { _ in "value" }
        let line = try #require(self.observed.log.lines.first { $0.message == "call ended" })
        let key = try #require(line.metadata["sf_key"])
        #expect(key.hasPrefix("a?b?[2Jccc"))
        #expect(key.utf8.count == 256)
    }

    @Test("a group without a logger that is asked for debug lines makes none")
    func level() async throws {
        var logger = self.observed.log.logger
        logger.logLevel = .info
        let observability = DistributedGroupConfiguration.Observability(logger: logger)
        let a = try self.cluster.process("a", .test { $0.observability = observability })
        self.work.finish()
        _ = await a.call(self.work).value
        #expect(self.observed.log.lines.isEmpty)
    }
}

@Suite("Outages as they are told")
struct DegradationEpisodeTests {
    private func at(_ seconds: Int) -> LeaseInstant { LeaseInstant(sinceOrigin: .seconds(seconds)) }

    @Test("the first call without the store is told, and the first with it again")
    func once() {
        var episode = DegradationEpisode()
        #expect(episode.observed(isCoordinated: true, now: self.at(0)) == nil)
        #expect(episode.observed(isCoordinated: false, now: self.at(1)) == .began)
        #expect(episode.observed(isCoordinated: false, now: self.at(2)) == nil)
        #expect(episode.observed(isCoordinated: true, now: self.at(3)) == .ended)
        #expect(episode.observed(isCoordinated: true, now: self.at(4)) == nil)
    }

    @Test("a store that comes and goes is told once a minute, not each time")
    func flapping() {
        var episode = DegradationEpisode()
        var told = 0
        for second in 0..<120 where episode.observed(isCoordinated: second % 2 == 1, now: self.at(second)) == .began {
            told += 1
        }
        #expect(told == 2)
    }

    @Test("the end of an outage that was not told is not told either")
    func untoldEnd() {
        var episode = DegradationEpisode()
        _ = episode.observed(isCoordinated: false, now: self.at(0))
        _ = episode.observed(isCoordinated: true, now: self.at(1))
        #expect(episode.observed(isCoordinated: false, now: self.at(2)) == nil)
        #expect(episode.observed(isCoordinated: true, now: self.at(3)) == nil)
    }
}

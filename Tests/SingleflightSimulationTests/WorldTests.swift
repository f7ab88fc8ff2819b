import SingleflightLease
import SingleflightSimulation
import SingleflightTestKit
import Synchronization
import Testing

@Suite("The simulated world")
struct WorldTests {
    let scheduler = SimulatedScheduler(seed: 1)

    private func runAll() {
        while self.scheduler.step() {}
    }

    @Test("events happen in the order of their times, and of their scheduling where those are equal")
    func order() {
        let log = Log()
        for (number, delay) in [3, 1, 2, 1, 3].enumerated() {
            self.scheduler.schedule(after: .seconds(delay)) { log.add("\(delay)-\(number)") }
        }
        self.runAll()
        #expect(log.lines == ["1-1", "1-3", "2-2", "3-0", "3-4"])
        #expect(self.scheduler.now == LeaseInstant(sinceOrigin: .seconds(3)))
    }

    @Test("a clock at half the speed fires after twice the time")
    func rate() {
        let machine = SimulatedMachine(scheduler: self.scheduler, offset: .seconds(100), rate: 0.5)
        let log = Log()
        _ = machine.clock.schedule(at: machine.clock.now.advanced(by: .seconds(1))) { log.add("fired") }
        self.runAll()
        #expect(log.lines == ["fired"])
        #expect((.seconds(2)...(.milliseconds(2001))).contains(self.scheduler.now.sinceOrigin))
    }

    @Test("a clock that jumps fires at once what it jumped over, and once")
    func jump() {
        let machine = SimulatedMachine(scheduler: self.scheduler)
        let log = Log()
        _ = machine.clock.schedule(at: machine.clock.now.advanced(by: .seconds(10))) { log.add("fired") }
        machine.clock.jump(by: .seconds(20))
        #expect(self.scheduler.step())
        #expect(log.lines == ["fired"])
        #expect(self.scheduler.now == LeaseInstant(sinceOrigin: .zero))
        self.runAll()
        #expect(log.lines == ["fired"])
    }

    @Test("a paused machine does on its return what reached it, in order")
    func pause() {
        let machine = SimulatedMachine(scheduler: self.scheduler)
        let log = Log()
        machine.pause(for: .seconds(5))
        machine.execute { log.add("first") }
        machine.execute { log.add("second") }
        #expect(log.lines.isEmpty)
        self.runAll()
        #expect(log.lines == ["first", "second"])
    }

    @Test("a crashed machine does nothing any more")
    func crash() {
        let machine = SimulatedMachine(scheduler: self.scheduler)
        let log = Log()
        _ = machine.clock.schedule(at: machine.clock.now.advanced(by: .seconds(1))) { log.add("timer") }
        machine.crash()
        machine.execute { log.add("event") }
        self.runAll()
        #expect(log.lines.isEmpty)
    }

    @Test("a request whose reply is lost is carried out, and fails as possibly carried out, in time")
    func replyLoss() throws {
        let store = self.store()
        store.network.replyLoss = 1
        let log = Log()
        let key = try FlightKey(group: "test", bytes: [1])
        store.send(try self.request(key)) { log.add(Self.describe($0)) }
        self.runAll()
        #expect(log.lines == ["timedOut, may have executed"])
        #expect(self.scheduler.now.sinceOrigin < .milliseconds(200))
        store.network.replyLoss = 0
        store.send(InspectRequest(key: key)) { log.add((try? $0.get().lease) != nil ? "held" : "not held") }
        self.runAll()
        #expect(log.lines.last == "held")
    }

    @Test("a request that is lost is not carried out, but its sender cannot know")
    func requestLoss() throws {
        let store = self.store()
        store.network.requestLoss = 1
        let log = Log()
        let key = try FlightKey(group: "test", bytes: [1])
        store.send(try self.request(key)) { log.add(Self.describe($0)) }
        self.runAll()
        #expect(log.lines == ["timedOut, may have executed"])
        store.network.requestLoss = 0
        store.send(InspectRequest(key: key)) { log.add((try? $0.get().lease) != nil ? "held" : "not held") }
        self.runAll()
        #expect(log.lines.last == "not held")
    }

    @Test("a partition ends with the inbox's resumption")
    func partition() throws {
        let store = self.store()
        let log = Log()
        let registration = store.listen(for: try FlightKey(group: "test", bytes: [1])) { event in
            if case .resumed = event { log.add("resumed") }
        }
        self.runAll()
        store.partition(for: .seconds(1))
        self.runAll()
        #expect(log.lines == ["resumed", "resumed"])
        registration.cancel()
    }

    private func store() -> SimulatedLeaseStore {
        SimulatedLeaseStore(
            server: SimulatedServer(scheduler: self.scheduler),
            machine: SimulatedMachine(scheduler: self.scheduler),
            label: "test"
        )
    }

    private func request(_ key: FlightKey) throws -> EnterRequest {
        var generator = SystemRandomNumberGenerator()
        let terms = LeaseTerms(
            duration: .seconds(10),
            grace: .seconds(10),
            retention: .seconds(10),
            leaderLoss: .cancel
        )
        return EnterRequest(
            key: key,
            token: LeaseToken(using: &generator),
            terms: terms,
            note: LeaseNote(label: "test"),
            validity: .seconds(1)
        )
    }

    private static func describe(_ reply: Result<EnterReply, LeaseStoreError>) -> String {
        switch reply {
        case .success(let reply): "\(reply)"
        case .failure(let error): "\(error.code), \(error.mayHaveExecuted ? "may have" : "not") executed"
        }
    }
}

/// What happened, in order.
private final class Log: Sendable {
    private let state = Mutex<[String]>([])

    var lines: [String] { self.state.withLock { $0 } }

    func add(_ line: String) {
        self.state.withLock { $0.append(line) }
    }
}

// Not testable: what is here is what a user's tests can do.
import Singleflight
import SingleflightLease
import Testing

@Suite("What users build in their own tests, and print")
struct OwnValuesTests {
    /// An operation as a user writes it.
    private func load(_ flight: Flight<String>) async throws -> String {
        flight.report(progress: FlightProgress(fraction: 0.5, message: "half"))
        return "\(flight.key) at \(try await flight.fence())"
    }

    @Test("an operation is tested with a flight of no group")
    func flight() async throws {
        let (updates, continuation) = AsyncStream.makeStream(of: FlightProgress.self)
        let flight = Flight(key: "page", fence: Fence(rawValue: 7)) { continuation.yield($0) }
        #expect(try await self.load(flight) == "page at 7")
        #expect(flight.isCurrent)
        continuation.finish()
        let reports = await updates.reduce(into: []) { $0.append("\($1)") }
        #expect(reports == ["50 %: half"])
        let error = await #expect(throws: DistributedGroupError.self) { try await self.load(Flight(key: "page")) }
        #expect(error?.code == .unavailable)
    }

    @Test("outcomes of both groups can be made, and answer as those of a group do")
    func outcomes() throws {
        let local = Outcome.complete(Completion(result: .success(7), isShared: false, role: .leader))
        #expect(try local.get() == 7)
        let remote = Completion(result: .success(7), isShared: true, role: .follower, source: .remote, leader: "one")
        #expect(remote.leader == "one" && remote.attempts == 1 && remote.coordination == .coordinated)
        let failure = RemoteFailure(type: "Timeout", message: "too slow", leader: "one")
        let failed = Outcome<Int>.complete(Completion(result: .failure(failure), isShared: true, role: .follower))
        #expect(throws: failure) { try failed.get() }
        let refused = Outcome<Int>.canceled(.refused(GroupError(.tooManyWaiters, key: "page", limit: 3)))
        #expect(throws: GroupError.self) { try refused.get() }
    }

    @Test("what is printed is one line that fits a log, and shows no value")
    func descriptions() {
        let long = String(repeating: "long\nline\r\n", count: 1000)
        let failure = RemoteFailure(type: "Timeout", message: long, leader: "one")
        let error = DistributedGroupError(.encodingFailed, long)
        let secret = Completion(
            result: .success("secret"),
            isShared: true,
            role: .follower,
            source: .remote,
            leader: long
        )
        let failed = Completion<String>(result: .failure(failure), isShared: false, role: .leader)
        let texts = [
            "\(failure)", "\(error)", "\(secret)", "\(Outcome.complete(secret))", "\(Outcome.complete(failed))",
            "\(Outcome<String>.canceled(.revoked(by: "ops", reason: long)))",
            "\(Outcome<String>.canceled(.custom(error)))", "\(Flight(key: long))", "\(FlightProgress(message: long))",
            "\(ObservedCalls())",
        ]
        for text in texts {
            let isOneLine = !text.contains { $0.isNewline }
            #expect(isOneLine, "\(text)")
            #expect(!text.isEmpty && text.count < 700, "\(text)")
            #expect(!text.contains("secret"))
        }
        let told = Completion(result: .success(1), isShared: true, role: .follower, source: .remote, leader: "one")
        #expect("\(told)" == "a value (follower, shared, remote, coordinated, led by one, waited 0.0 seconds)")
        #expect("\(Outcome<Int>.canceled(.noFlight))" == "canceled: there was no flight")
    }
}

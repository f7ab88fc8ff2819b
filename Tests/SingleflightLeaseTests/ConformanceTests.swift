import SingleflightLease
import SingleflightTestKit
import Testing

@Suite("The store in memory", .timeLimit(.minutes(4)))
struct ConformanceTests {
    struct Fixture: LeaseStoreFixture {
        private let clock: ManualLeaseClock
        private let server: InMemoryLeaseServer

        init() {
            self.clock = ManualLeaseClock()
            self.server = InMemoryLeaseServer(clock: self.clock)
        }

        func makeStore(label: String) -> any LeaseStore {
            InMemoryLeaseStore(server: self.server, label: label)
        }

        func kill(_ store: any LeaseStore) {
            (store as? InMemoryLeaseStore)?.die()
        }

        func advance(by duration: Duration) {
            self.clock.advance(by: duration)
        }
    }

    @Test("keeps the promises of a lease store", arguments: LeaseStoreConformance.cases)
    func conforms(_ promise: LeaseStoreConformance.Case) async {
        await #expect(throws: Never.self) { try await promise.run(on: Fixture()) }
    }
}

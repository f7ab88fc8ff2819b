import Singleflight
import SingleflightTestKit
import Synchronization
import Testing

@testable import SingleflightLease

/// A codec of which nothing is known, so that it may block.
private struct SlowCodec: FlightCodec {
    let identifier = "slow/1"

    func encode(_ value: String) -> [UInt8] { Array(value.utf8) }
    func decode(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}

private final class Offloaded: Sendable {
    private let pieces = Mutex<[@Sendable () -> Void]>([])

    var count: Int { self.pieces.withLock { $0.count } }

    func add(_ piece: @escaping @Sendable () -> Void) {
        self.pieces.withLock { $0.append(piece) }
    }

    func runAll() {
        for piece in self.pieces.withLock({ $0 }) { piece() }
    }
}

@Suite("A caller that begins to wait when the flight has ended")
struct LateCallerTests {
    /// Its task is one of few: what it waits for must not block it.
    @Test("does not decode the outcome itself if the codec may block")
    func slowCodec() throws {
        let cluster = try Cluster()
        let (leader, offloaded) = (InMemoryLeaseStore(server: cluster.server), Offloaded())
        var generator = SystemRandomNumberGenerator()
        let token = LeaseToken(using: &generator)
        let terms = try DistributedGroupConfiguration.test.terms(commandTimeout: leader.commandTimeout)
        func core(_ store: InMemoryLeaseStore) -> GroupCore {
            let coder = PayloadCoder(
                codec: ErasedCodec(SlowCodec()),
                typedFailures: nil,
                maximumResultBytes: 100,
                label: "test"
            )
            let runtime = FlightRuntime(offload: { offloaded.add($0) }, random: { .system })
            return GroupCore(FlightContext(group: "group", store: store, terms: terms, coder: coder, runtime: runtime))
        }
        let enter = EnterRequest(
            key: cluster.key,
            token: token,
            terms: terms.lease,
            note: LeaseNote(label: "test"),
            validity: .seconds(1)
        )
        leader.send(enter) { #expect((try? $0.get()) == .lead(attempt: 0)) }
        let group = core(InMemoryLeaseStore(server: cluster.server))
        let step = group.admit(cluster.key, group.call(cluster.key, unavailable: .fail)) { driver, _ in
            OperationSpy()
        }
        guard case .waits(let wait) = step else {
            Issue.record("it does not wait")
            return
        }
        let encoded = PayloadCoder(
            codec: ErasedCodec(SlowCodec()),
            typedFailures: nil,
            maximumResultBytes: 100,
            label: "test"
        ).encode(.success(ErasedValue("value")))
        leader.send(
            CompleteRequest(key: cluster.key, token: token, outcome: encoded.outcome)
        ) { #expect((try? $0.get()) == .accepted(waiters: 1)) }
        let awakenings = Mutex<[Awakening]>([])
        wait.driver.park(
            .handler { awakening in awakenings.withLock { $0.append(awakening) } },
            at: wait.seat,
            priority: .low
        )
        #expect(offloaded.count == 1)
        #expect(awakenings.withLock { $0.isEmpty })
        offloaded.runAll()
        guard case .settled(let settled)? = awakenings.withLock({ $0.first }),
            case .finished(let finished) = settled.settlement
        else {
            Issue.record("it was not told")
            return
        }
        #expect(try finished.result.get().value(as: String.self) == "value")
    }
}

/// Work that does nothing.
private final class OperationSpy: FlightOperation {
    func begin(token: LeaseToken?) {}
    func cancel() {}
    func raise(to priority: TaskPriority) {}
}

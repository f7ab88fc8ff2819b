import Dispatch
import PrivateRedis
import Synchronization
import TestSupport
import Testing

@testable import SingleflightRedis

/// Reads text, and blocks in each decoding until it is let go.
private final class BlockingCodec: FlightCodec {
    private let gate = DispatchSemaphore(value: 0)
    let blocked = Atomic(0)

    let identifier = "text/1"

    func encode(_ value: String) -> [UInt8] { Array(value.utf8) }

    func decode(_ bytes: [UInt8]) -> String {
        self.blocked.add(1, ordering: .sequentiallyConsistent)
        self.gate.wait()
        self.gate.signal()
        return String(decoding: bytes, as: UTF8.self)
    }

    func letGo() { self.gate.signal() }
}

private struct TextCodec: FlightCodec {
    let identifier = "text/1"
    func encode(_ value: String) -> [UInt8] { Array(value.utf8) }
    func decode(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}

@Suite("Code that users bring", .usesServer, .timeLimit(.minutes(5)))
struct ForeignCodeTests {
    private typealias Texts = DistributedGroup<String, String>
    private static let count = 12

    @Test("a codec that blocks on twelve results costs no lease and holds up no other call, and reads each result once")
    func blockingCodec() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .milliseconds(300)) { one, two in
                let codec = BlockingCodec()
                defer { codec.letGo() }
                let generous = DistributedGroupConfiguration(lease: .init(duration: .seconds(60)))
                let leading = try Texts("texts", store: one, configuration: generous, codec: TextCodec())
                let following = try Texts("texts", store: two, configuration: generous, codec: codec)
                let gate = Gate("the operations of the leader")
                let led = (0..<Self.count).map { index in
                    Task {
                        try await leading.value("\(index)") { _ in
                            await gate.wait()
                            return "\(index)"
                        }
                    }
                }
                await gate.untilArrived(Self.count)
                // Two callers of each flight: the second one must not cost a second decoding.
                let followed = (0..<Self.count * 2).map { index in
                    Task { try await following.value("\(index / 2)") { _ in "computed twice" } }
                }
                for index in 0..<Self.count {
                    try await one.untilWaiters(1, group: "texts", key: "\(index)")
                }
                try await until("all callers have joined") { following.inFlight == Self.count }

                // A lease of a second in the process whose codec is about to block.
                let short = DistributedGroupConfiguration(lease: .init(duration: .seconds(1)))
                let held = try Texts("held", store: two, configuration: short)
                guard case .leader(let leader) = await held.entry("key") else {
                    Issue.record("another process leads")
                    return
                }
                gate.open()
                try await until("every result is being decoded") {
                    codec.blocked.load(ordering: .sequentiallyConsistent) == Self.count
                }
                let small = try Texts("small", store: two)
                for index in 0..<50 {
                    #expect(try await small.value("\(index)") { _ in "small" } == "small")
                }
                let key = try FlightKey(group: "held", bytes: Array("key".utf8))
                try await until("four renewals of the lease") {
                    let inspection = try await two.answer(to: InspectRequest(key: key)).get()
                    return (inspection.lease?.note.renewals ?? 0) >= 4
                }
                #expect(leader.isCurrent)
                codec.letGo()
                for (index, call) in followed.enumerated() {
                    #expect(try await call.value == "\(index / 2)")
                }
                for call in led { _ = try await call.value }
                #expect(codec.blocked.load(ordering: .sequentiallyConsistent) == Self.count)
                #expect(leader.complete(.success("done")))
                #expect(try await leader.outcome().get() == "done")
            }
        }
    }

    @Test("a handler that blocks holds up neither its flight nor another one")
    func blockingHandler() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .milliseconds(300)) { one, two in
                let texts = try Texts("texts", store: one)
                guard case .leader(let leader) = await texts.entry("key") else {
                    Issue.record("another process leads")
                    return
                }
                let release = DispatchSemaphore(value: 0)
                defer { release.signal() }
                let calls = Counter()
                leader.onLost { _ in
                    calls.increment()
                    release.wait()
                }
                let key = try FlightKey(group: "texts", bytes: Array("key".utf8))
                let revocation = RevokeRequest(key: key, token: nil, by: "two", reason: "why")
                _ = try await two.answer(to: revocation).get()
                #expect(await leader.outcome().cancellation == .revoked(by: "two", reason: "why"))
                try await until("the handler is called") { calls.value == 1 }
                #expect(try await texts.value("other") { _ in "runs" } == "runs")
            }
        }
    }
}

extension Outcome {
    fileprivate var cancellation: Cancellation? {
        if case .canceled(let reason) = self { reason } else { nil }
    }
}

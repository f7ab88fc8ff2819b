import Foundation
import SingleflightTestKit
import TestSupport
import Testing

@testable import SingleflightLease

/// A service that is given a group, whichever.
private struct Service {
    let flights: any Coalescing<String, String>

    func page(_ operation: @escaping @Sendable () async throws -> String) async throws -> String {
        try await self.flights.value("page", operation: operation)
    }
}

@Suite("A service that is given a group", .timeLimit(.minutes(4)))
struct CoalescingProtocolTests {
    private struct Refused: Error, Codable {}

    @Test("coalesces by a local group in its tests and by a distributed one in its cluster", arguments: [false, true])
    func either(isDistributed: Bool) async throws {
        // Without that rule a distributed group's callers get a remote failure, as they would on any host.
        let process = try Cluster().process("a", .test { $0.results.typedFailures = .codable(Refused.self) })
        let local = Group<String, String>()
        let service = Service(flights: isDistributed ? process.group : local)
        let (gate, runs) = (Gate("the operation"), Counter())
        let calls = (0..<3).map { _ in
            Task.atOnce {
                try? await service.page {
                    runs.increment()
                    await gate.wait()
                    return "page"
                }
            }
        }
        gate.open()
        for call in calls { #expect(await call.value == "page") }
        #expect(runs.value == 1)
        await #expect(throws: Refused.self) { try await service.page { throw Refused() } }
    }

    @Test("JSON is written and read by the encoder and decoder that the codec is given")
    func json() throws {
        let (encoder, decoder) = (JSONEncoder(), JSONDecoder())
        encoder.dateEncodingStrategy = .iso8601
        decoder.dateDecodingStrategy = .iso8601
        let codec = JSONCodec<[Date]>(encoder: encoder, decoder: decoder)
        let dates = [Date(timeIntervalSince1970: 1_800_000_000)]
        #expect(String(decoding: try codec.encode(dates), as: UTF8.self) == #"["2027-01-15T08:00:00Z"]"#)
        #expect(try codec.decode(try codec.encode(dates)) == dates)
    }
}

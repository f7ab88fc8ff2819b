import HiredisClient
import SingleflightLease
import Testing

@testable import SingleflightRedis

@Suite("The command that compares and deletes")
struct ComparingDeletionTests {
    @Test("is tried by one request, and then sent by all")
    func known() {
        var deletion = ComparingDeletion()
        #expect(deletion.begin(on: 1) == .delifeq)
        #expect(deletion.begin(on: 1) == nil)
        deletion.end(.delifeq, .understood, on: 1)
        #expect(deletion.begin(on: 1) == .delifeq)
        #expect(deletion.begin(on: 1) == .delifeq)
        #expect(deletion.begin(on: 2) == .delifeq)
        #expect(deletion.isPossible(on: 2))
    }

    @Test("has another form, and where that is refused as well, neither is tried again on the same connection")
    func refused() {
        var deletion = ComparingDeletion()
        #expect(deletion.begin(on: 1) == .delifeq)
        deletion.end(.delifeq, .refused, on: 1)
        #expect(deletion.begin(on: 1) == .delex)
        #expect(deletion.begin(on: 1) == nil)
        deletion.end(.delex, .refused, on: 1)
        #expect(deletion.begin(on: 1) == nil)
        #expect(!deletion.isPossible(on: 1))
        #expect(deletion.isPossible(on: 2))
        #expect(deletion.begin(on: 2) == .delifeq)
    }

    @Test("is tried again where its first request was not answered")
    func open() {
        var deletion = ComparingDeletion()
        #expect(deletion.begin(on: 1) == .delifeq)
        deletion.end(.delifeq, .open, on: 1)
        #expect(deletion.begin(on: 1) == .delifeq)
    }

    /// A failover to a server of an earlier version.
    @Test("is given up by the first of several requests that are refused, and the others change nothing")
    func replaced() {
        var deletion = ComparingDeletion()
        #expect(deletion.begin(on: 1) == .delifeq)
        deletion.end(.delifeq, .understood, on: 1)
        for _ in 0..<3 { #expect(deletion.begin(on: 2) == .delifeq) }
        deletion.end(.delifeq, .refused, on: 2)
        #expect(deletion.begin(on: 2) == .delex)
        deletion.end(.delifeq, .refused, on: 2)
        deletion.end(.delifeq, .open, on: 2)
        #expect(deletion.begin(on: 2) == nil)
        deletion.end(.delex, .understood, on: 2)
        #expect(deletion.begin(on: 2) == .delex)
    }

    @Test(
        "is judged by its answer",
        arguments: [
            (":1", .understood), (":0", .understood), ("+OK", .refused),
            ("-ERR unknown command 'DELIFEQ', with args beginning with: 'x'", .refused),
            ("-ERR wrong number of arguments for 'delex' command", .refused), ("-ERR syntax error", .refused),
            ("-NOPERM this user has no permissions to run the 'delifeq' command", .refused),
            ("-WRONGTYPE Operation against a key holding the wrong kind of value", .open),
            ("-READONLY You can't write against a read only replica.", .open), ("-LOADING", .open),
        ] as [(String, ComparingDeletion.Verdict)]
    )
    func verdicts(_ line: String, _ verdict: ComparingDeletion.Verdict) {
        let text = String(line.dropFirst())
        let result: Result<RESPValue, RedisClientError> =
            switch line.first {
            case ":": .success(.integer(Int64(text) ?? -1))
            case "+": .success(.simpleString(text))
            default: .failure(.server(RedisServerError(message: text)))
            }
        #expect(ComparingDeletion.Verdict(result) == verdict)
        #expect(ComparingDeletion.Verdict(.failure(RedisClientError(.timedOut, "late"))) == .open)
    }

    // MARK: - Records

    private static func token(_ number: UInt64) throws -> LeaseToken {
        let digits = String(number, radix: 16)
        return try #require(LeaseToken(String(repeating: "0", count: 32 - digits.count) + digits))
    }

    @Test("a record is had once")
    func once() throws {
        var records = GrantedRecords()
        let (one, two) = (try Self.token(1), try Self.token(2))
        let start = LeaseInstant(sinceOrigin: .seconds(1))
        records.insert([1], of: one, until: start.advanced(by: .seconds(20)), now: start)
        records.insert([2], of: two, until: start.advanced(by: .seconds(20)), now: start)
        #expect(records.take(one) == [1])
        #expect(records.take(one) == nil)
        #expect(records.take(two) == [2])
        #expect(records.count == 0)
    }

    @Test("records that nobody asks for are dropped once their keys are gone")
    func dropped() throws {
        var records = GrantedRecords()
        var now = LeaseInstant(sinceOrigin: .seconds(1))
        let kept = try Self.token(1 << 40)
        records.insert([7], of: kept, until: now.advanced(by: .seconds(100_000)), now: now)
        for number in 0..<10_000 as Range<UInt64> {
            now = now.advanced(by: .seconds(1))
            records.insert([1], of: try Self.token(number), until: now.advanced(by: .seconds(20)), now: now)
            #expect(records.count <= 128)
        }
        #expect(records.take(kept) == [7])
    }
}

import SingleflightLease
import Support

@testable import SingleflightRedis

/// Bytes on the channel of events are ignored or understood, and an event that follows docs/protocol.md is understood
/// as meant.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = Input(start, count)
    if input.byte() & 1 == 0 {
        guard let event = LeaseEvent(bytes: input.bytes) else { return 0 }
        expect(event.note.age >= .zero, "an age of \(event.note.age)")
        expect(input.bytes[2..<34].elementsEqual(event.token.description.utf8), "another token")
        return 0
    }
    let (token, inbox) = (input.hexadecimal(32), input.hexadecimal(32))
    let time = Int64(bitPattern: input.word() >> 1), startedAt = Int64(bitPattern: input.word())
    let attempt = input.number(0...999), waiters = input.number(0...4096)
    let kind = Array("atrjqvecl".utf8)[Int(input.byte()) % 9]
    guard let key = try? FlightKey(group: "fuzz", bytes: input.chunk()), let holder = InboxID(inbox),
        let lease = LeaseToken(token)
    else { return 0 }
    let note = LeaseRecord.Note(label: input.text(), startedAt: startedAt, renewals: 1, key: input.text())
    let record = LeaseRecord(
        token: lease,
        inbox: holder,
        duration: .zero,
        grace: .zero,
        retention: .zero,
        leaderLoss: .cancel,
        note: note
    )
    let detail =
        switch kind {
        case UInt8(ascii: "t"), UInt8(ascii: "j"), UInt8(ascii: "q"): Array(inbox.utf8)
        default: input.bytes
        }
    var bytes = [UInt8(ascii: "2"), kind]
    bytes += Array("\(token) \(time) \(attempt) \(waiters) \(Keyspace.announcedName(of: key))\n".utf8)
    bytes += Array(record.bytes.dropFirst(98)) + Array("\n".utf8) + detail

    guard let event = LeaseEvent(bytes: bytes) else {
        expect(false, "not understood: \(String(decoding: bytes, as: UTF8.self))")
        return 0
    }
    expectEqual(event.token, lease, "another token")
    expectEqual(event.time, .milliseconds(time), "another time")
    expectEqual(event.attempt, attempt, "another number of takeovers")
    expectEqual(event.waiters, waiters, "another number of waiters")
    expectEqual(event.group, "fuzz", "another group")
    expectEqual(event.note.label, note.label, "another label")
    let name = Keyspace.encode(key.bytes)
    let text = String(decoding: key.bytes, as: UTF8.self)
    expectEqual(event.key, name.isDigest ? note.key : text, "another key")
    switch event.change {
    case .joined(let who), .left(let who): expectEqual(who, holder, "somebody else")
    case .takenOver(let lost): expectEqual(lost.description, inbox, "another lost token")
    default: break
    }
    return 0
}

import HiredisClient
import SingleflightLease
import Support

@testable import SingleflightRedis

/// A lease's record is read as it was written, whoever wrote the note; a record from elsewhere is refused, or its fixed
/// fields are written as they were read.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = Input(start, count)
    if input.byte() & 1 == 0 {
        checkForeign(input.bytes)
    } else {
        checkOwn(&input)
    }
    return 0
}

private func checkForeign(_ bytes: [UInt8]) {
    let reply = RESPValue.array([.bulk(bytes), .integer(1000), .array([.bulk(bytes)])])
    _ = try? LeaseInspection(reply: reply)
    guard let record = LeaseRecord(bytes: bytes) else { return }
    expectEqual(Array(record.bytes.prefix(94)), Array(bytes.prefix(94)), "other fields")
    let day = Duration.milliseconds(99_999_999)
    expect((.zero...day).contains(record.duration), "a lease of \(record.duration)")
    expect((.zero...day).contains(record.grace), "a grace of \(record.grace)")
    expect((0...999).contains(record.attempt), "\(record.attempt) takeovers")
    expect(record.note.leaseNote.age >= .zero, "an age of \(record.note.leaseNote.age)")
}

private func checkOwn(_ input: inout Input) {
    guard let token = LeaseToken(input.hexadecimal(32)), let inbox = InboxID(input.hexadecimal(32)) else {
        return expect(false, "no names")
    }
    let day = 24 * 3600 * 1000
    var trace = TraceContext()
    trace.set(input.text(), to: input.text())
    let note = LeaseNote(
        label: input.text(),
        renewals: input.number(0...Int.max - 1),
        progress: FlightProgress(fraction: Double(bitPattern: input.word()), message: input.text()),
        trace: trace.isEmpty ? nil : trace
    )
    let key = FlightKey(checkedGroup: "fuzz", bytes: input.chunk())
    let record = LeaseRecord(
        token: token,
        inbox: inbox,
        duration: .milliseconds(input.number(100...day)),
        grace: .milliseconds(input.number(100...day)),
        retention: .milliseconds(input.number(100...day)),
        leaderLoss: input.byte() & 1 == 0 ? .cancel : .takeOver(attempts: input.number(1...999)),
        attempt: input.number(0...999),
        note: LeaseRecord.Note(note, key: input.byte() & 1 == 0 ? key : nil)
    )
    guard let read = LeaseRecord(bytes: Array(record.bytes)) else {
        return expect(false, "a record that nobody can read: \(String(decoding: record.bytes, as: UTF8.self))")
    }
    expectEqual(read.token, token, "another token")
    expectEqual(read.inbox, inbox, "another inbox")
    expectEqual(read.duration, record.duration, "another duration")
    expectEqual(read.grace, record.grace, "another grace")
    expectEqual(read.attempt, record.attempt, "another number of takeovers")
    // By bytes: texts that only look the same are equal in Swift.
    expectEqual(Array(read.note.label.utf8), Array(note.label.utf8), "another label")
    expectEqual(read.note.startedAt, record.note.startedAt, "another start")
    expectEqual(read.note.renewals, note.renewals, "another number of renewals")
    expectEqual(read.note.leaseNote(at: 0).trace, note.trace, "another span")
    expectEqual(read.note.fraction, note.progress?.fraction, "another share")
    expectEqual(
        read.note.message.map { Array($0.utf8) },
        (note.progress?.message).map { Array($0.utf8) },
        "another message"
    )
    expectEqual(read.note.key.map { Array($0.utf8) }, record.note.key.map { Array($0.utf8) }, "another key")
}

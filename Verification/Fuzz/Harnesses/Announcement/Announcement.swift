import SingleflightLease
import Support

@testable import SingleflightRedis

/// Bytes in an inbox are ignored or understood, and an announcement that follows docs/protocol.md is understood as
/// meant.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = Input(start, count)
    if input.byte() & 1 == 0 {
        let bytes = input.bytes
        guard let message = AnnouncementMessage(bytes: bytes) else { return 0 }
        expect(bytes[3..<35].elementsEqual(message.announcement.token.description.utf8), "another token")
        expect(!message.name.utf8.contains(UInt8(ascii: "\n")), "a line feed in a name")
        if case .outcome(let outcome) = message.announcement.news {
            let form = outcome.wireForm
            let read = StoredOutcome(status: form.status.utf8.first ?? 0, payload: form.payload)
            // Line breaks of other kinds in the name of who revoked do not travel.
            if case .canceled = outcome {
                expectEqual(read?.wireForm.payload, form.payload, "another reason")
            } else {
                expectEqual(read, outcome, "another outcome")
            }
        }
        return 0
    }
    let token = input.hexadecimal(32)
    let key = input.chunk()
    let status = Array("vech upd".utf8)[Int(input.byte()) % 8]
    let isInline = input.byte() & 1 == 0
    let payload = input.bytes
    guard let flight = try? FlightKey(group: "fuzz", bytes: key) else { return 0 }
    let name = Keyspace.announcedName(of: flight)
    var bytes = [UInt8(ascii: "2"), status, isInline ? UInt8(ascii: "i") : UInt8(ascii: "h")]
    bytes += Array((token + name + "\n").utf8) + payload

    let message = AnnouncementMessage(bytes: bytes)
    if status == UInt8(ascii: " ") || status == UInt8(ascii: "h") {
        // An unknown letter with a payload is not understood; without one it is a reason to ask.
        expect(message == nil || message?.announcement.news == .hint, "\(String(describing: message))")
        return 0
    }
    if status == UInt8(ascii: "p") {
        guard case .progress(let progress) = message?.announcement.news else {
            // The number of the report, a space, and what is left of the line.
            let line = payload.prefix { $0 != UInt8(ascii: "\n") }
            let number = line.prefix { $0 != UInt8(ascii: " ") }
            let isWhole = line.count < payload.count && number.count < line.count
            let isNumbered = UInt64(String(decoding: number, as: UTF8.self)) != nil
            expect(message == nil && !(isWhole && isNumbered), "progress was overlooked")
            return 0
        }
        expect(progress.fraction.map { (0...1).contains($0) } ?? true, "\(progress)")
        return 0
    }
    if status == UInt8(ascii: "d") {
        // The number of chunks before it, a line feed, and the chunk, if it goes along.
        let number = payload.prefix { $0 != UInt8(ascii: "\n") }
        let rest = payload.dropFirst(number.count + 1)
        guard case .chunk(let chunk) = message?.announcement.news else {
            let index = Int(String(decoding: number, as: UTF8.self))
            let isWhole = number.count < payload.count && index.map { $0 >= 0 } ?? false
            expect(message == nil && !isWhole, "a chunk was overlooked")
            return 0
        }
        expect((chunk.bytes ?? []).elementsEqual(rest) && chunk.index >= 0, "another chunk")
        return 0
    }
    guard let message else {
        expect(false, "not understood: \(String(decoding: bytes, as: UTF8.self))")
        return 0
    }
    expectEqual(message.name, name, "another name")
    expectEqual(message.announcement.token.description, token, "another token")
    switch message.announcement.news {
    case .unawaited: expectEqual(status, UInt8(ascii: "u"), "unawaited")
    case .progress, .chunk: expect(false, "neither progress nor a chunk")
    case .hint: expect(!isInline, "the payload was overlooked")
    case .outcome(.value(let read)):
        expect(status == UInt8(ascii: "v") && isInline && read == payload, "another value")
    case .outcome(.failure(let read)):
        expect(status == UInt8(ascii: "e") && isInline && read == payload, "another failure")
    case .outcome(.canceled): expect(status == UInt8(ascii: "c") && isInline, "canceled")
    }
    return 0
}

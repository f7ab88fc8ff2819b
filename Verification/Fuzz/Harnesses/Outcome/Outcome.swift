import Support

@testable import SingleflightLease

/// What is packed for other processes comes out as it went in; bytes from elsewhere are refused or read, and what is
/// read can be written and read again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = Input(start, count)
    switch input.byte() & 3 {
    case 0: checkForeign(input.bytes)
    case 1: checkEnvelope(&input)
    case 2: checkFailure(&input)
    default: checkReason(&input)
    }
    return 0
}

private let token = LeaseToken(String(repeating: "0123456789abcdef", count: 2))

private func checkForeign(_ bytes: [UInt8]) {
    guard let token else { return expect(false, "no token") }
    let coder = PayloadCoder<[UInt8]>(
        codec: BytesCodec(),
        typedFailures: .codable(TypedError.self),
        maximumResultBytes: 1024,
        label: "fuzz"
    )
    let value = coder.decode(value: bytes)
    let failure = coder.decode(failure: bytes, token: token)
    if case .success = failure.result { expect(false, "a failure was read as a value") }
    _ = StoredPayload(bytes: bytes)?.failure(of: token)

    guard let envelope = try? Envelope(bytes: bytes) else {
        if case .success = value.result { expect(false, "a value without an envelope") }
        return
    }
    // Names that were repaired can be too long to be written again.
    guard envelope.codec.utf8.count <= 255, envelope.leader.utf8.count <= 255 else { return }
    expectEqual(try? Envelope(bytes: envelope.bytes), envelope, "another envelope")
    guard let body = FailureBody(bytes: envelope.body) else { return }
    expectEqual(FailureBody(bytes: body.bytes), body, "another failure")
}

private func checkEnvelope(_ input: inout Input) {
    let (codec, leader) = (input.text(), input.text())
    let body = input.bytes
    let bytes = Envelope(codec: codec, leader: leader, body: body).bytes
    guard let read = try? Envelope(bytes: bytes) else { return expect(false, "an envelope that nobody can read") }
    expectEqual(read.body, body, "another body")
    for (name, original) in [(read.codec, codec), (read.leader, leader)] {
        expect(name.utf8.count <= 255, "a name of \(name.utf8.count) bytes")
        expect(original.utf8.starts(with: name.utf8), "\(name) is no beginning of \(original)")
        expect(original.utf8.count > 255 || name == original, "\(original) was cut")
    }
    // A beginning is no envelope, or one with a shorter body.
    for end in bytes.indices.prefix(bytes.count - body.count) {
        expect((try? Envelope(bytes: Array(bytes[..<end]))) == nil, "\(end) bytes of \(bytes.count) are an envelope")
    }
}

private struct TypedError: Error, Codable, Equatable, CustomStringConvertible {
    var description: String
}

private func checkFailure(_ input: inout Input) {
    guard let token else { return expect(false, "no token") }
    let limit = input.number(0...200)
    let error = TypedError(description: input.text())
    let rule = TypedFailures.codable(TypedError.self)
    let isTyped = input.byte() & 1 == 0
    let body = FailureBody(error, typedFailures: isTyped ? rule : nil, maximumTypedBytes: limit)
    expect(body.message.utf8.count <= 4096, "a message of \(body.message.utf8.count) bytes")
    expect(error.description.utf8.starts(with: body.message.utf8), "the message is no beginning of the description")
    expect(body.typed.map { $0.count <= limit } ?? true, "the encoded error is too long")
    guard let read = FailureBody(bytes: body.bytes) else { return expect(false, "a failure that nobody can read") }
    expectEqual(read, body, "another failure")
    switch read.error(leader: "elsewhere", token: token, typedFailures: rule) {
    case let same as TypedError: expectEqual(same, error, "another error")
    case let failure as RemoteFailure:
        expect(body.typed == nil, "the error was lost")
        expectEqual(failure.message, body.message, "another message")
    case let other: expect(false, "\(other)")
    }
}

private func checkReason(_ input: inout Input) {
    let by = input.text()
    let reason = input.text()
    let sent = CanceledFlight.revoked(by: by, reason: reason)
    guard case .revoked(let readBy, let readReason) = CanceledFlight(wireForm: sent.wireForm) else {
        return expect(false, "a revocation by \(by.debugDescription) is read as something else")
    }
    expectEqual(Array(readReason.utf8), Array(reason.utf8), "another reason")
    expect(!readBy.contains(where: \.isNewline), "a line break in who revoked")
    expect(by.contains(where: \.isNewline) || Array(by.utf8) == Array(readBy.utf8), "revoked by somebody else")

    // As another client may write it: whatever is no line feed is part of the line.
    let line = String(decoding: by.utf8.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    if case .revoked(let by, let read) = CanceledFlight(wireForm: "revoked\n\(line)\n\(reason)") {
        expect(by.utf8.elementsEqual(line.utf8) && read.utf8.elementsEqual(reason.utf8), "another revocation")
    } else {
        expect(false, "a revocation by \(line.debugDescription) of another client is read as something else")
    }

    // Other clients' bytes: three lines, by line feeds alone.
    let foreign = String(decoding: input.bytes, as: UTF8.self)
    let lines = foreign.utf8.split(separator: UInt8(ascii: "\n"), maxSplits: 2, omittingEmptySubsequences: false)
    if lines.count == 3, lines[0].elementsEqual("revoked".utf8) {
        guard case .revoked(let by, let reason) = CanceledFlight(wireForm: foreign) else {
            return expect(false, "\(foreign.debugDescription) is a revocation")
        }
        expect(by.utf8.elementsEqual(lines[1]) && reason.utf8.elementsEqual(lines[2]), "\(foreign.debugDescription)")
    } else if case .revoked = CanceledFlight(wireForm: foreign) {
        expect(false, "\(foreign.debugDescription) is no revocation")
    }
}

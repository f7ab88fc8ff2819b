import Support

@testable import SingleflightCLI

/// A recording keeps the beginning of what was printed, within its limit, and crosses processes unchanged; bytes from
/// elsewhere are refused, or stand for one recording only.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = Input(start, count)
    let codec = RecordingCodec()
    if input.byte() & 1 == 0 {
        let bytes = input.bytes
        guard let recording = try? codec.decode(bytes) else { return 0 }
        // Of the flags only one has a meaning.
        expectEqual(codec.encode(recording), [bytes[0] & 1] + bytes[1...], "other bytes")
        return 0
    }
    let limit = input.number(0...100)
    var recording = CommandRecording(status: Int32(truncatingIfNeeded: input.word()), limit: limit)
    var printed: [CommandRecording.Stream: [UInt8]] = [:]
    while !input.rest.isEmpty {
        let stream = input.byte() & 1 == 0 ? CommandRecording.Stream.output : .error
        let bytes = input.chunk()
        recording.append(bytes, to: stream)
        printed[stream, default: []] += bytes
    }
    let encoded = codec.encode(recording)
    // The header of a recording whose command has no name.
    expect(encoded.count <= 18 + limit, "\(encoded.count) bytes, with a limit of \(limit)")
    expectEqual(try? codec.decode(encoded), recording, "another recording")
    for stream in [CommandRecording.Stream.output, .error] {
        let kept = recording.chunks.filter { $0.stream == stream }.flatMap(\.bytes)
        let all = printed[stream, default: []]
        expect(all.starts(with: kept), "what is kept is not what was printed first")
        expect(recording.isTruncated || kept == all, "cut, and not said so")
    }
    return 0
}

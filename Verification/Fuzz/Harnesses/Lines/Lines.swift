import NIOCore
import Support

@testable import SingleflightCLI

/// Lines are the same however the bytes arrive, and the same as what a plain split gives; half a line at the end is
/// none.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Input(start, count).bytes
    var expected = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast().map { line in
        String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
    }
    if bytes.isEmpty { expected = [] }
    for slices in slicings(of: bytes) {
        var decoder = LineDecoder()
        var buffer = ByteBuffer()
        var lines: [String] = []
        for slice in slices {
            buffer.writeBytes(slice)
            while let line = try? decoder.decode(buffer: &buffer) { lines.append(line) }
        }
        while let line = try? decoder.decodeLast(buffer: &buffer, seenEOF: true) { lines.append(line) }
        expectEqual(
            lines.map { Array($0.utf8) },
            expected.map { Array($0.utf8) },
            "other lines in \(slices.count) slices"
        )
    }
    return 0
}

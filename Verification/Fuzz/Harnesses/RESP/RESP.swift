import Support

@testable import HiredisClient

/// A stream of replies gives the same values and the same end however it is cut, and the same as a plain recursive
/// reader.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = Input(start, count)
    let limits = limits(input.byte())
    let bytes = input.bytes
    let expected = ReferenceReader.read(bytes, limits: limits)
    for slices in slicings(of: bytes) {
        let read = read(slices, limits: limits)
        expectEqual(read.values, expected.values, "other values in \(slices.count) slices")
        expect(read.end.matches(expected.end), "\(slices.count) slices end \(read.end), not \(expected.end)")
    }

    // What was read and written again is read as the same.
    let again = read([expected.values.flatMap(\.encoded)[...]], limits: RESPLimits())
    expectEqual(again.values, expected.values, "other values after another round")
    expect(again.end == .open, "another round ends \(again.end)")
    return 0
}

/// The defaults, or limits that short inputs reach.
private func limits(_ choice: UInt8) -> RESPLimits {
    var limits = RESPLimits()
    if choice & 1 == 1 {
        limits.maximumBulkBytes = 24
        limits.maximumReplyBytes = 96
        limits.maximumElements = 9
        limits.maximumLineBytes = 20
    }
    return limits
}

/// How a stream ended.
enum End: Equatable {
    /// More bytes may follow.
    case open
    case violation(RESPViolation)

    /// Why hiredis refuses something is its own affair.
    func matches(_ other: End) -> Bool {
        if case .violation(.refused) = self, case .violation(.refused) = other { return true }
        return self == other
    }
}

private func read(_ slices: [ArraySlice<UInt8>], limits: RESPLimits) -> (values: [RESPValue], end: End) {
    var reader = RESPReader(limits: limits)
    var values: [RESPValue] = []
    for slice in slices {
        slice.withUnsafeBytes { reader.feed($0) }
        do {
            while let value = try reader.next() { values.append(value) }
        } catch {
            // A violation is final, whatever else is fed.
            [UInt8]("+OK\r\n".utf8).withUnsafeBytes { reader.feed($0) }
            do {
                let value = try reader.next()
                expect(false, "\(String(describing: value)) after \(error)")
            } catch let second {
                expectEqual(second, error, "another violation")
            }
            return (values, .violation(error))
        }
    }
    return (values, .open)
}

extension RESPValue {
    fileprivate var encoded: [UInt8] {
        switch self {
        case .simpleString(let text): Array("+\(text)\r\n".utf8)
        case .error(let error): Array("-\(error.message)\r\n".utf8)
        case .integer(let value): Array(":\(value)\r\n".utf8)
        case .bulk(let bytes): Array("$\(bytes.count)\r\n".utf8) + bytes + Array("\r\n".utf8)
        case .array(let elements): Array("*\(elements.count)\r\n".utf8) + elements.flatMap(\.encoded)
        case .null: Array("$-1\r\n".utf8)
        case .tooLong: []
        }
    }
}

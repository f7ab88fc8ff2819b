/// Follows a stream of RESP2 byte by byte, and checks what it announces before hiredis gets to see it.
///
/// A value without I/O: it keeps no bytes, only where it is in the grammar. It accepts no stream that hiredis reads
/// differently: where hiredis is lenient (a carriage return inside a line, an unchecked end of a bulk string), the
/// scanner refuses.
struct RESPScanner {
    private enum State {
        /// A type byte comes next. Exits: line, header.
        case type
        /// Inside a simple string, an error or an integer; bytes so far. Exits: lineFeed.
        case line(Int)
        /// Inside the number of a bulk string's or an array's header. Exits: headerLineFeed.
        case header(Header)
        /// A line feed ends a scalar. Exits: type.
        case lineFeed
        /// A line feed ends a header. Exits: body, type.
        case headerLineFeed(Header)
        /// Inside a bulk string; bytes still to come. Exits: bodyCarriageReturn.
        case body(Int)
        /// A carriage return, then a line feed end a bulk string.
        case bodyCarriageReturn
    }

    private struct Header {
        let isArray: Bool
        var value = 0
        var digits = 0
        var isNegative = false
    }

    private let limits: RESPLimits
    private var state = State.type
    /// How many elements each open array still lacks, outermost first.
    private var open: [Int] = []
    private var replyBytes = 0
    private var elements = 0

    /// Replies that ended so far and were not yet taken.
    private(set) var completeReplies = 0
    /// The length of the bulk string because of which the reply is read over.
    private(set) var skipped: Int?

    init(limits: RESPLimits) {
        self.limits = limits
        open.reserveCapacity(limits.maximumDepth)
    }

    /// Notes that a complete reply was taken.
    mutating func takeReply() {
        completeReplies -= 1
    }

    /// Moves on over `bytes`, up to where a reply turns out to be too long, or one that was too long ends: there
    /// ``skipped`` changes. Returns how many are in order and, if that is not all, what is wrong with the next.
    ///
    /// After a violation the scanner must not be used again.
    mutating func scan(_ bytes: UnsafeRawBufferPointer) -> (accepted: Int, violation: RESPViolation?) {
        var index = 0
        let wasSkipping = skipped != nil
        do throws(RESPViolation) {
            while index < bytes.count, (skipped != nil) == wasSkipping {
                if case .body(let missing) = state {
                    let step = min(missing, bytes.count - index)
                    state = step == missing ? .bodyCarriageReturn : .body(missing - step)
                    index += step
                } else {
                    try consume(bytes[index])
                    index += 1
                }
            }
            return (index, nil)
        } catch {
            return (index, error)
        }
    }

    private mutating func consume(_ byte: UInt8) throws(RESPViolation) {
        replyBytes += 1
        guard replyBytes <= limits.maximumReplyBytes else { throw .replyTooLong }
        switch state {
        case .type:
            try begin(byte)
        case .line(let count):
            if byte == .carriageReturn {
                state = .lineFeed
            } else {
                guard count < limits.maximumLineBytes else { throw .lineTooLong }
                state = .line(count + 1)
            }
        case .header(let header):
            try extend(header, with: byte)
        case .lineFeed:
            guard byte == .lineFeed else { throw .missingTerminator }
            endElement()
        case .headerLineFeed(let header):
            guard byte == .lineFeed else { throw .missingTerminator }
            endHeader(header)
        case .bodyCarriageReturn:
            guard byte == .carriageReturn else { throw .missingTerminator }
            state = .lineFeed
        case .body:
            preconditionFailure("scan(_:) steps over bodies itself")
        }
    }

    private mutating func begin(_ byte: UInt8) throws(RESPViolation) {
        switch byte {
        case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: ":"):
            state = .line(0)
        case UInt8(ascii: "$"):
            state = .header(Header(isArray: false))
        case UInt8(ascii: "*"):
            guard open.count < limits.maximumDepth else { throw .nestedTooDeeply }
            state = .header(Header(isArray: true))
        default:
            throw .unknownType(byte)
        }
    }

    private mutating func extend(_ old: Header, with byte: UInt8) throws(RESPViolation) {
        var header = old
        switch byte {
        case UInt8(ascii: "-") where header.digits == 0 && !header.isNegative:
            header.isNegative = true
        case UInt8(ascii: "0")...UInt8(ascii: "9"):
            // As strict as hiredis about the form: no zero before other digits; the one negative length is -1.
            guard header.digits == 0 || header.value > 0 else { throw .malformedHeader }
            header.digits += 1
            header.value = header.value * 10 + Int(byte - UInt8(ascii: "0"))
            if header.isNegative {
                guard header.value == 1 else { throw .malformedHeader }
            } else if header.isArray {
                guard elements + header.value <= limits.maximumElements else { throw .tooManyElements }
            } else {
                guard header.value <= max(limits.maximumBulkBytes, limits.maximumSkippedBytes) else {
                    throw .bulkTooLong
                }
            }
        case .carriageReturn:
            guard header.digits > 0 else { throw .malformedHeader }
            if !header.isArray, !header.isNegative, header.value <= limits.maximumBulkBytes {
                guard replyBytes + header.value <= limits.maximumReplyBytes else { throw .replyTooLong }
            }
            state = .headerLineFeed(header)
            return
        default:
            throw .malformedHeader
        }
        state = .header(header)
    }

    private mutating func endHeader(_ header: Header) {
        if header.isNegative {
            endElement()
        } else if !header.isArray {
            if header.value > limits.maximumBulkBytes {
                // Nothing of it is kept, so it does not count.
                skipped = max(skipped ?? 0, header.value)
            } else {
                replyBytes += header.value
            }
            state = header.value == 0 ? .bodyCarriageReturn : .body(header.value)
        } else if header.value == 0 {
            endElement()
        } else {
            elements += header.value
            open.append(header.value)
            state = .type
        }
    }

    private mutating func endElement() {
        state = .type
        while let missing = open.last {
            if missing > 1 {
                open[open.count - 1] = missing - 1
                return
            }
            open.removeLast()
        }
        if skipped == nil { completeReplies += 1 }
        skipped = nil
        replyBytes = 0
        elements = 0
    }
}

extension UInt8 {
    fileprivate static var carriageReturn: UInt8 { UInt8(ascii: "\r") }
    fileprivate static var lineFeed: UInt8 { UInt8(ascii: "\n") }
}

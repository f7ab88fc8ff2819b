import CHiredis

/// Makes replies of a stream of bytes, however it is cut: hiredis parses, behind a scanner that bounds what it is fed.
///
/// A reply with a string that is too long is read over and told as ``RESPValue/tooLong(_:)``: those behind it are as
/// good as any.
///
/// Not thread-safe: one owner.
package struct RESPReader: ~Copyable {
    /// `nil` only if there was no memory for it.
    private var reader: UnsafeMutablePointer<redisReader>?
    private var scanner: RESPScanner
    private var violation: RESPViolation?
    /// Replies that were taken from hiredis early, because of one that is too long.
    private var early: [RESPValue] = []

    package init(limits: RESPLimits = RESPLimits()) {
        reader = redisReaderCreate()
        scanner = RESPScanner(limits: limits)
        if reader == nil {
            violation = .refused("out of memory")
        }
    }

    deinit {
        redisReaderFree(reader)
    }

    /// Takes the next bytes of the stream. What is wrong with them is told by ``next()``, after the replies before it.
    package mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        while !rest.isEmpty, violation == nil {
            let skippedBefore = scanner.skipped
            let (accepted, violation) = scanner.scan(rest)
            if skippedBefore == nil {
                parse(UnsafeRawBufferPointer(rebasing: rest[..<accepted]))
            }
            if skippedBefore == nil, scanner.skipped != nil {
                dropPartialReply()
            } else if let skippedBefore, scanner.skipped == nil {
                early.append(.tooLong(skippedBefore))
            }
            self.violation = self.violation ?? violation
            rest = UnsafeRawBufferPointer(rebasing: rest[accepted...])
        }
    }

    private mutating func parse(_ bytes: UnsafeRawBufferPointer) {
        guard let reader, let start = bytes.baseAddress, !bytes.isEmpty else { return }
        if redisReaderFeed(reader, start.assumingMemoryBound(to: CChar.self), bytes.count) != REDIS_OK {
            violation = .refused(String(cString: chiredis_reader_error(reader)))
        }
    }

    /// What hiredis has of the reply that is too long goes away with its reader.
    private mutating func dropPartialReply() {
        do throws(RESPViolation) {
            while scanner.completeReplies > 0, let reply = try parsed() { early.append(reply) }
        } catch {
            violation = error
        }
        redisReaderFree(reader)
        reader = redisReaderCreate()
        if reader == nil { violation = .refused("out of memory") }
    }

    /// The next whole reply, or `nil` if more bytes are needed. A violation is final: it is thrown on every later call.
    package mutating func next() throws(RESPViolation) -> RESPValue? {
        if !early.isEmpty { return early.removeFirst() }
        if scanner.completeReplies > 0, let reply = try parsed() { return reply }
        if let violation { throw violation }
        return nil
    }

    /// - Precondition: there is a whole reply.
    private mutating func parsed() throws(RESPViolation) -> RESPValue? {
        guard let reader else { return nil }
        var reply: UnsafeMutablePointer<redisReply>?
        let status = chiredis_next(reader, &reply)
        guard status == chiredis_complete, let reply else {
            let reason =
                status == chiredis_failed ? String(cString: chiredis_reader_error(reader)) : "the reply is incomplete"
            fail(.refused(reason))
            throw .refused(reason)
        }
        defer { freeReplyObject(reply) }
        scanner.takeReply()
        return RESPValue(reply)
    }

    private mutating func fail(_ reason: RESPViolation) {
        violation = reason
        while scanner.completeReplies > 0 {
            scanner.takeReply()
        }
    }
}

extension RESPValue {
    /// Copies a reply that hiredis made. The scanner lets no other types pass than those of RESP2.
    fileprivate init(_ reply: UnsafePointer<redisReply>) {
        switch chiredis_reply_type(reply) {
        case REDIS_REPLY_STRING:
            self = .bulk(Array(RESPValue.bytes(of: reply)))
        case REDIS_REPLY_STATUS:
            self = .simpleString(String(decoding: RESPValue.bytes(of: reply), as: UTF8.self))
        case REDIS_REPLY_ERROR:
            self = .error(RedisServerError(message: String(decoding: RESPValue.bytes(of: reply), as: UTF8.self)))
        case REDIS_REPLY_INTEGER:
            self = .integer(chiredis_reply_integer(reply))
        case REDIS_REPLY_ARRAY:
            let count = chiredis_reply_count(reply)
            // Swift notes the count of an array that it hands out for filling, also in the storage that all empty
            // arrays of the process share: ThreadSanitizer saw two threads write there.
            guard count > 0 else {
                self = .array([])
                return
            }
            self = .array(
                [RESPValue](unsafeUninitializedCapacity: count) { elements, initialized in
                    while initialized < count {
                        let element = chiredis_reply_element(reply, initialized)
                        (elements.baseAddress.unsafelyUnwrapped + initialized)
                            .initialize(to: element.map { RESPValue($0) } ?? .null)
                        initialized += 1
                    }
                }
            )
        default:
            self = .null
        }
    }

    private static func bytes(of reply: UnsafePointer<redisReply>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: chiredis_reply_bytes(reply), count: chiredis_reply_length(reply))
    }
}

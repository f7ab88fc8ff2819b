import CHiredis

/// Makes replies of a stream of bytes, however it is cut: hiredis parses, behind a scanner that bounds what it is fed.
///
/// Not thread-safe: one owner.
package struct RESPReader: ~Copyable {
    /// `nil` only if there was no memory for it.
    private let reader: UnsafeMutablePointer<redisReader>?
    private var scanner: RESPScanner
    private var violation: RESPViolation?

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
        guard violation == nil, let reader else { return }
        let (accepted, violation) = scanner.scan(bytes)
        self.violation = violation
        guard accepted > 0, let start = bytes.baseAddress else { return }
        if redisReaderFeed(reader, start.assumingMemoryBound(to: CChar.self), accepted) != REDIS_OK {
            self.violation = .refused(String(cString: chiredis_reader_error(reader)))
        }
    }

    /// The next whole reply, or `nil` if more bytes are needed. A violation is final: it is thrown on every later call.
    package mutating func next() throws(RESPViolation) -> RESPValue? {
        guard scanner.completeReplies > 0, let reader else {
            if let violation { throw violation }
            return nil
        }
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

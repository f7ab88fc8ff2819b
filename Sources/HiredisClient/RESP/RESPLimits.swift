/// How much of a reply is believed.
///
/// hiredis allocates what a header announces: an unchecked header of a dozen bytes can ask for gigabytes.
package struct RESPLimits: Sendable, Hashable {
    /// Longest bulk string, in bytes.
    package var maximumBulkBytes = 16 << 20
    /// Longest bulk string that is read over, and told as too long, where it is longer than the above. One that is
    /// longer still ends the stream. 0: none is read over.
    package var maximumSkippedBytes = 0
    /// Longest reply in all, in bytes as they travel. Also the most that is ever buffered.
    package var maximumReplyBytes = 32 << 20
    /// Most elements that the arrays of one reply announce in all.
    ///
    /// The largest answer this project expects is some 4096 waiters. An announced element costs a pointer (8 bytes)
    /// at once and a reply object (about 50 bytes) on arrival, so this default bounds a hostile reply to 4 MiB of them.
    package var maximumElements = 65_536
    /// Longest simple string, error or integer, in bytes.
    package var maximumLineBytes = 64 << 10
    /// Deepest nesting of arrays; hiredis 0.14 can do no more than 7.
    package private(set) var maximumDepth = 7

    package init() {}
}

/// Why a stream of replies was given up.
package enum RESPViolation: Error, Hashable, Sendable {
    /// A reply starts with a byte that RESP2 does not know.
    case unknownType(UInt8)
    /// A length or count is not a number of the plainest form.
    case malformedHeader
    /// A carriage return is not followed by a line feed, or a bulk string not by both.
    case missingTerminator
    case lineTooLong
    case bulkTooLong
    case tooManyElements
    case nestedTooDeeply
    case replyTooLong
    /// hiredis refused the reply, for this reason.
    case refused(String)
}

/// Parts in a row of bytes: of each its length, in four bytes with the most significant in front, and the part.
///
/// Where the row is cut into chunks does not matter: a long part lies in several, short ones share one.
enum StreamFrames {
    /// What a part takes beside its own bytes.
    static let headerBytes = 4
    /// The longest part that four bytes can tell of.
    static let longestPart = Int(UInt32.max)

    static func frame(_ part: [UInt8]) -> [UInt8] {
        let length = UInt32(truncatingIfNeeded: part.count)
        var frame: [UInt8] = []
        frame.reserveCapacity(Self.headerBytes + part.count)
        for shift in [24, 16, 8, 0] { frame.append(UInt8(truncatingIfNeeded: length >> UInt32(shift))) }
        frame += part
        return frame
    }

    /// Puts parts together from chunks that come in order.
    struct Reader: Sendable {
        private var bytes: [UInt8] = []
        private var start = 0
        /// The bytes of the chunks that hold no whole part yet, or parts that were not taken.
        var count: Int { self.bytes.count - self.start }

        mutating func append(_ chunk: [UInt8]) {
            if self.count == 0 {
                self.bytes = chunk
            } else {
                if self.start > 0 { self.bytes.removeFirst(self.start) }
                self.bytes += chunk
            }
            self.start = 0
        }

        /// The next part, if it is there as a whole.
        mutating func next() -> [UInt8]? {
            guard self.count >= StreamFrames.headerBytes else { return nil }
            let length = self.bytes[self.start..<self.start + StreamFrames.headerBytes].reduce(0) { $0 << 8 | Int($1) }
            let first = self.start + StreamFrames.headerBytes
            guard self.bytes.count - first >= length else { return nil }
            let part = Array(self.bytes[first..<first + length])
            self.start = first + length
            if self.start == self.bytes.count {
                self.bytes = []
                self.start = 0
            }
            return part
        }
    }
}

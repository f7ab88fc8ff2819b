/// A command, a reply or a push as it travels, whole.
package struct RESPFrame: Sendable {
    /// The bytes, as they came.
    package let bytes: [UInt8]
    /// The strings of an array, which is what commands and pushes are; of other replies nothing.
    package let words: [String]

    /// What sentinels tell one another through the servers that they watch; no part of any flight.
    package var isOfSentinel: Bool { self.words.count > 1 && self.words[1].hasPrefix("__sentinel__:") }

    init(bytes: [UInt8], words: [String]) {
        self.bytes = bytes
        self.words = words
    }

    /// A command.
    init(words: [String]) {
        let bulks = words.map { "$\($0.utf8.count)\r\n\($0)\r\n" }
        self.init(bytes: Array(("*\(words.count)\r\n" + bulks.joined()).utf8), words: words)
    }
}

/// Cuts a stream of RESP2 into frames, whatever pieces it arrives in. What is no RESP passes as one frame: a proxy
/// judges nothing.
struct RESPFrameCutter {
    private var buffer: [UInt8] = []

    mutating func append(_ bytes: some Sequence<UInt8>) {
        self.buffer += bytes
    }

    mutating func next() -> RESPFrame? {
        var words: [String] = []
        guard !self.buffer.isEmpty, let end = self.end(from: 0, isNested: false, &words) else { return nil }
        let bytes = Array(self.buffer[..<end])
        self.buffer.removeFirst(end)
        return RESPFrame(bytes: bytes, words: words)
    }

    /// Where the element that begins at `start` ends; `nil` while part of it is missing.
    private func end(from start: Int, isNested: Bool, _ words: inout [String]) -> Int? {
        guard start < self.buffer.count, let lineEnd = self.lineEnd(from: start) else { return nil }
        let number = Int(String(decoding: self.buffer[(start + 1)..<(lineEnd - 2)], as: UTF8.self))
        switch (self.buffer[start], number) {
        case (UInt8(ascii: "$"), let length?) where length >= 0:
            let end = lineEnd + length + 2
            guard end <= self.buffer.count else { return nil }
            if isNested {
                words.append(String(decoding: self.buffer[lineEnd..<(end - 2)], as: UTF8.self))
            }
            return end
        case (UInt8(ascii: "*"), let count?) where count > 0:
            var end = lineEnd
            for _ in 0..<count {
                guard let next = self.end(from: end, isNested: true, &words) else { return nil }
                end = next
            }
            return end
        case (UInt8(ascii: "+"), _), (UInt8(ascii: "-"), _), (UInt8(ascii: ":"), _), (UInt8(ascii: "$"), _),
            (UInt8(ascii: "*"), _):
            return lineEnd
        default:
            return self.buffer.count
        }
    }

    /// Behind the line feed that ends the line from `start` on.
    private func lineEnd(from start: Int) -> Int? {
        var index = start + 1
        while index + 1 < self.buffer.count {
            if self.buffer[index] == UInt8(ascii: "\r"), self.buffer[index + 1] == UInt8(ascii: "\n") {
                return index + 2
            }
            index += 1
        }
        return nil
    }
}

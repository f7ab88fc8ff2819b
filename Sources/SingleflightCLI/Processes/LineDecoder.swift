package import NIOCore

/// Splits bytes into lines; the newline, and a carriage return before it, are left out.
package struct LineDecoder: NIOSingleStepByteToMessageDecoder {
    package typealias InboundOut = String

    private var searched = 0

    package init() {}

    package mutating func decode(buffer: inout ByteBuffer) throws -> String? {
        // A long line arrives in many pieces: what was searched once holds no newline.
        let fresh = buffer.readableBytesView.dropFirst(searched)
        guard let newline = fresh.firstIndex(of: UInt8(ascii: "\n")) else {
            searched = buffer.readableBytes
            return nil
        }
        searched = 0
        let length = newline - buffer.readerIndex
        let line = buffer.readString(length: length)
        buffer.moveReaderIndex(forwardBy: 1)
        return line.map { $0.hasSuffix("\r") ? String($0.dropLast()) : $0 }
    }

    package mutating func decodeLast(buffer: inout ByteBuffer, seenEOF: Bool) throws -> String? {
        // Half a line at the end is what a killed writer leaves: nobody can make sense of it.
        try decode(buffer: &buffer)
    }
}

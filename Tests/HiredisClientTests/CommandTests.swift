import NIOCore
import Testing

@testable import HiredisClient

/// How arguments are written that are put together where they are written.
@Suite("A command") struct CommandTests {
    private static let number = Hexadecimal(high: 0x0123_4567_89AB_CDEF, low: 0xF)
    private static let digits = "0123456789abcdef000000000000000f"

    @Test("a number of 128 bits is 32 lowercase digits")
    func hexadecimal() {
        #expect(written(.hexadecimal(Self.number)) == "*2\r\n$3\r\nGET\r\n$32\r\n\(Self.digits)\r\n")
        #expect(RedisArgument.hexadecimal(Self.number).description == Self.digits)
    }

    @Test("texts in a row are one argument, and a number stands behind a colon")
    func joined() {
        #expect(written(.joined("a{1}:", "lease:", "é")) == "*2\r\n$3\r\nGET\r\n$13\r\na{1}:lease:é\r\n")
        let numbered = RedisArgument.joined("a:", "done:", "b", Self.number)
        #expect(written(numbered) == "*2\r\n$3\r\nGET\r\n$41\r\na:done:b:\(Self.digits)\r\n")
        #expect(numbered.description == "a:done:b:\(Self.digits)")
    }

    private func written(_ argument: RedisArgument) -> String {
        var buffer = ByteBuffer()
        let count = RedisCommand("GET", argument).encode(into: &buffer)
        #expect(count == buffer.readableBytes)
        return String(buffer: buffer)
    }
}

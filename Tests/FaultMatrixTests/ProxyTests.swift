import Testing

@testable import FaultProxy

@Suite("Frames of RESP")
struct RESPFrameTests {
    private static let stream =
        "*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n+OK\r\n:12\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n*1\r\n:1\r\n$0\r\n\r\n-ERR x\r\n"
    private static let frames = [
        "*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n", "+OK\r\n", ":12\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n",
        "*2\r\n*1\r\n:1\r\n$0\r\n\r\n", "-ERR x\r\n",
    ]

    @Test("are the same however the stream is cut", arguments: [1, 2, 3, 7, 1000])
    func cutting(length: Int) {
        var cutter = RESPFrameCutter()
        var frames: [String] = []
        var rest = Array(Self.stream.utf8)[...]
        while !rest.isEmpty {
            cutter.append(rest.prefix(length))
            rest = rest.dropFirst(length)
            while let frame = cutter.next() { frames.append(String(decoding: frame.bytes, as: UTF8.self)) }
        }
        #expect(frames == Self.frames)
    }

    @Test("have a command's words")
    func words() {
        var cutter = RESPFrameCutter()
        cutter.append(Array(Self.stream.utf8))
        #expect(cutter.next()?.words == ["GET", "a\r\nb"])
        #expect(cutter.next()?.words == [])
    }
}

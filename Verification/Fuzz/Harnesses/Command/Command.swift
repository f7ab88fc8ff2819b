import NIOCore
import Support

@testable import HiredisClient

/// A command takes no more room than was made for it, whatever its arguments, and is read as what it is.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = Input(start, count)
    var arguments: [[RedisArgument]] = [[], []]
    let isScript = input.byte() & 1 == 0
    let name = input.text()
    let script = input.text()
    while !input.rest.isEmpty {
        let choice = input.byte()
        arguments[isScript ? Int(choice >> 7) : 1].append(argument(choice, &input))
    }
    let command =
        isScript
        ? RedisCommand(evaluation: name, script: script, keys: arguments[0], arguments: arguments[1])
        : RedisCommand(name, arguments: arguments[1])
    var words = [Array(name.utf8)]
    if isScript { words += [Array(script.utf8), Array(String(arguments[0].count).utf8)] + arguments[0].map(\.word) }
    words += arguments[1].map(\.word)

    // Exactly as much as is asked for: whatever is written beyond it is seen.
    var buffer = ByteBuffer()
    let written = command.encode(into: &buffer)
    expectEqual(buffer.readableBytes, written, "another length")
    var limits = RESPLimits()
    limits.maximumElements = 1 << 20
    var reader = RESPReader(limits: limits)
    buffer.readableBytesView.withUnsafeBytes { reader.feed($0) }
    do {
        expectEqual(try reader.next(), .array(words.map { .bulk($0) }), "another command")
        expect(try reader.next() == nil, "more than one command")
    } catch {
        expect(false, "no command: \(error)")
    }
    return 0
}

private func argument(_ choice: UInt8, _ input: inout Input) -> RedisArgument {
    switch choice & 7 {
    case 0, 1: .string(input.text())
    case 2: .bytes(input.chunk())
    case 3: .buffer(ByteBuffer(bytes: input.chunk()))
    case 4: .integer(Int64(bitPattern: input.word()))
    case 5: .hexadecimal(Hexadecimal(high: input.word(), low: input.word()))
    case 6: .joined(input.text(), "done:", input.text(), Hexadecimal(high: input.word(), low: input.word()))
    default: .joined(input.text(), "wait:", input.text())
    }
}

extension RedisArgument {
    /// The bytes that the server is to get.
    fileprivate var word: [UInt8] {
        switch self {
        case .string(let text): Array(text.utf8)
        case .bytes(let bytes): bytes
        case .buffer(let buffer): Array(buffer.readableBytesView)
        case .integer(let number): Array(String(number).utf8)
        case .hexadecimal(let number): Array(number.digits.utf8)
        case .joined(let first, let second, let third, let number):
            Array("\(first)\(second)\(third)\(number.map { ":" + $0.digits } ?? "")".utf8)
        }
    }
}

extension Hexadecimal {
    /// Written another way than where it is written for the server.
    fileprivate var digits: String {
        [self.high, self.low].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}

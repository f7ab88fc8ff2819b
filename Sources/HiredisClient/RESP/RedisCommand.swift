package import NIOCore

/// One argument of a command.
package enum RedisArgument: Sendable {
    case string(String)
    case bytes([UInt8])
    case buffer(ByteBuffer)
    case integer(Int64)
    case hexadecimal(Hexadecimal)
    /// Three texts in a row, and after a colon a number if there is one: joined where they are written, not in a string
    /// of their own (an allocation, 50 ns each).
    case joined(String, StaticString, String, Hexadecimal? = nil)
}

/// A number of 128 bits, which is written as 32 lowercase digits.
package struct Hexadecimal: Sendable {
    package var high: UInt64
    package var low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    static let length = 32

    /// The digits, in ASCII, from the first to the last.
    package func forEachDigit(_ body: (UInt8) -> Void) {
        for index in 0..<Self.length {
            let word = index < 16 ? self.high : self.low
            let digit = UInt8(truncatingIfNeeded: word >> UInt64((15 - index % 16) * 4)) & 0xF
            body(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        }
    }
}

extension Hexadecimal: CustomStringConvertible {
    package var description: String {
        var digits: [UInt8] = []
        self.forEachDigit { digits.append($0) }
        return String(decoding: digits, as: UTF8.self)
    }
}

extension RedisArgument: CustomStringConvertible {
    /// What is written, with bytes that are not UTF-8 replaced.
    package var description: String {
        switch self {
        case .string(let string): string
        case .bytes(let bytes): String(decoding: bytes, as: UTF8.self)
        case .buffer(let buffer): String(buffer: buffer)
        case .integer(let value): String(value)
        case .hexadecimal(let number): number.description
        case .joined(let first, let second, let third, let number):
            first + "\(second)" + third + (number.map { ":\($0)" } ?? "")
        }
    }
}

extension RedisArgument: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    package init(stringLiteral value: String) {
        self = .string(value)
    }

    package init(integerLiteral value: Int64) {
        self = .integer(value)
    }
}

/// A command and its arguments, as they go over the wire.
package struct RedisCommand: Sendable {
    private let name: String
    /// A script call's source or hash. Beside the lists, so that nothing of it is copied.
    private let script: String?
    private let keys: [RedisArgument]
    private let arguments: [RedisArgument]

    package init(_ name: String, _ arguments: RedisArgument...) {
        self.init(name, arguments: arguments)
    }

    package init(_ name: String, arguments: [RedisArgument]) {
        self.name = name
        script = nil
        keys = []
        self.arguments = arguments
    }

    /// `EVAL` or `EVALSHA`; `script` is the source or the hash.
    init(evaluation name: String, script: String, keys: [RedisArgument], arguments: [RedisArgument]) {
        self.name = name
        self.script = script
        self.keys = keys
        self.arguments = arguments
    }

    /// Appends the command to `buffer` in RESP; returns how many bytes it took.
    @discardableResult
    func encode(into buffer: inout ByteBuffer) -> Int {
        let bound =
            RESPWriter.bulkBound * 4 + name.utf8.count + (script?.utf8.count ?? 0)
            + RESPWriter.bound(of: keys) + RESPWriter.bound(of: arguments)
        return buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { space in
            var writer = RESPWriter(space: space)
            writer.writeHeader(UInt8(ascii: "*"), (script == nil ? 1 : 3) + keys.count + arguments.count)
            writer.write(name)
            if let script {
                writer.write(script)
                writer.write(Int64(keys.count))
            }
            writer.write(keys)
            writer.write(arguments)
            return writer.count
        }
    }
}

/// Writes RESP into memory that is known to be large enough.
private struct RESPWriter {
    /// A type byte, 20 digits and a sign at most, and the end of the line.
    static let headerBound = 24
    /// Everything about an argument but its bytes; also a whole number.
    static let bulkBound = 2 * headerBound + 2

    let space: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init(space: UnsafeMutableRawBufferPointer) {
        self.space = space
    }

    static func bound(of arguments: [RedisArgument]) -> Int {
        var bound = 0
        for argument in arguments {
            switch argument {
            case .string(let string): bound += string.utf8.count
            case .bytes(let bytes): bound += bytes.count
            case .buffer(let buffer): bound += buffer.readableBytes
            case .integer: break
            case .hexadecimal: bound += Hexadecimal.length
            case .joined(let first, let second, let third, let number):
                bound += joinedLength(first, second, third, number)
            }
            bound += bulkBound
        }
        return bound
    }

    private static func joinedLength(
        _ first: String,
        _ second: StaticString,
        _ third: String,
        _ number: Hexadecimal?
    ) -> Int {
        let texts = first.utf8.count + second.utf8CodeUnitCount + third.utf8.count
        return texts + (number == nil ? 0 : 1 + Hexadecimal.length)
    }

    mutating func write(_ arguments: [RedisArgument]) {
        for argument in arguments {
            switch argument {
            case .string(let string):
                write(string)
            case .bytes(let bytes):
                bytes.withUnsafeBytes { writeBulk($0) }
            case .buffer(let buffer):
                buffer.withUnsafeReadableBytes { writeBulk($0) }
            case .integer(let value):
                write(value)
            case .hexadecimal(let number):
                writeHeader(UInt8(ascii: "$"), Hexadecimal.length)
                writeDigits(number)
                endLine()
            case .joined(var first, let second, var third, let number):
                writeHeader(UInt8(ascii: "$"), RESPWriter.joinedLength(first, second, third, number))
                first.withUTF8 { writeBytes(UnsafeRawBufferPointer($0)) }
                second.withUTF8Buffer { writeBytes(UnsafeRawBufferPointer($0)) }
                third.withUTF8 { writeBytes(UnsafeRawBufferPointer($0)) }
                if let number {
                    append(UInt8(ascii: ":"))
                    writeDigits(number)
                }
                endLine()
            }
        }
    }

    mutating func write(_ string: String) {
        var string = string
        string.withUTF8 { writeBulk(UnsafeRawBufferPointer($0)) }
    }

    mutating func write(_ value: Int64) {
        writeHeader(UInt8(ascii: "$"), RESPWriter.decimalLength(of: value))
        writeDecimal(value)
        endLine()
    }

    mutating func writeHeader(_ type: UInt8, _ value: Int) {
        append(type)
        writeDecimal(Int64(value))
        endLine()
    }

    private mutating func writeBulk(_ bytes: UnsafeRawBufferPointer) {
        writeHeader(UInt8(ascii: "$"), bytes.count)
        writeBytes(bytes)
        endLine()
    }

    private mutating func writeBytes(_ bytes: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: space[count...]).copyMemory(from: bytes)
        count += bytes.count
    }

    private mutating func writeDigits(_ number: Hexadecimal) {
        number.forEachDigit { append($0) }
    }

    private mutating func writeDecimal(_ value: Int64) {
        if value < 0 {
            append(UInt8(ascii: "-"))
        }
        var rest = value.magnitude
        var end = count + RESPWriter.digitCount(of: rest)
        count = end
        repeat {
            end -= 1
            space[end] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
    }

    private mutating func endLine() {
        append(UInt8(ascii: "\r"))
        append(UInt8(ascii: "\n"))
    }

    private mutating func append(_ byte: UInt8) {
        space[count] = byte
        count += 1
    }

    private static func decimalLength(of value: Int64) -> Int {
        digitCount(of: value.magnitude) + (value < 0 ? 1 : 0)
    }

    private static func digitCount(of value: UInt64) -> Int {
        var count = 1
        var rest = value / 10
        while rest > 0 {
            count += 1
            rest /= 10
        }
        return count
    }
}

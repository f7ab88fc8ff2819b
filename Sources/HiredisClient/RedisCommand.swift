package import NIOCore

/// One argument of a command.
package enum RedisArgument: Sendable, Hashable {
    case string(String)
    case bytes([UInt8])
    case buffer(ByteBuffer)
    case integer(Int64)
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
package struct RedisCommand: Sendable, Hashable {
    /// The command's name, then what stands before the keys; two parts so that a script call need not copy its lists.
    private let head: [RedisArgument]
    private let keys: [RedisArgument]
    private let arguments: [RedisArgument]

    package init(_ name: String, _ arguments: RedisArgument...) {
        self.init(name, arguments: arguments)
    }

    package init(_ name: String, arguments: [RedisArgument]) {
        head = [.string(name)]
        keys = []
        self.arguments = arguments
    }

    /// `EVAL` or `EVALSHA`; `script` is the source or the hash.
    init(evaluation name: String, script: String, keys: [RedisArgument], arguments: [RedisArgument]) {
        head = [.string(name), .string(script), .integer(Int64(keys.count))]
        self.keys = keys
        self.arguments = arguments
    }

    /// Appends the command to `buffer` in RESP; returns how many bytes it took.
    @discardableResult
    func encode(into buffer: inout ByteBuffer) -> Int {
        let bound =
            RESPWriter.headerBound + RESPWriter.bound(of: head) + RESPWriter.bound(of: keys)
            + RESPWriter.bound(of: arguments)
        return buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { space in
            var writer = RESPWriter(space: space)
            writer.writeHeader(UInt8(ascii: "*"), head.count + keys.count + arguments.count)
            writer.write(head)
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
            case .integer: bound += headerBound
            }
            bound += headerBound + 2
        }
        return bound
    }

    mutating func write(_ arguments: [RedisArgument]) {
        for argument in arguments {
            switch argument {
            case .string(var string):
                string.withUTF8 { writeBulk(UnsafeRawBufferPointer($0)) }
            case .bytes(let bytes):
                bytes.withUnsafeBytes { writeBulk($0) }
            case .buffer(let buffer):
                buffer.withUnsafeReadableBytes { writeBulk($0) }
            case .integer(let value):
                writeHeader(UInt8(ascii: "$"), RESPWriter.decimalLength(of: value))
                writeDecimal(value)
                endLine()
            }
        }
    }

    mutating func writeHeader(_ type: UInt8, _ value: Int) {
        append(type)
        writeDecimal(Int64(value))
        endLine()
    }

    private mutating func writeBulk(_ bytes: UnsafeRawBufferPointer) {
        writeHeader(UInt8(ascii: "$"), bytes.count)
        UnsafeMutableRawBufferPointer(rebasing: space[count...]).copyMemory(from: bytes)
        count += bytes.count
        endLine()
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

import Foundation

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Keys that are typed.
enum TerminalKeys {
    /// Calls `handler` for every key that is typed at `descriptor`, as long as this process lives.
    ///
    /// It reads on a thread of its own, blocking: to make a terminal non-blocking would change it for the shell as
    /// well.
    static func read(from descriptor: Int32, _ handler: @escaping @Sendable (Character) -> Void) {
        Thread.detachNewThread {
            var decoder = KeyDecoder()
            var byte: UInt8 = 0
            while true {
                let count = systemRead(descriptor, &byte)
                if count < 0, errno == EINTR { continue }
                guard count == 1 else { return }
                if let key = decoder.decode(byte) { handler(key) }
            }
        }
    }

    private static func systemRead(_ descriptor: Int32, _ byte: inout UInt8) -> Int {
        #if canImport(Darwin)
            Darwin.read(descriptor, &byte, 1)
        #else
            Glibc.read(descriptor, &byte, 1)
        #endif
    }
}

/// Makes keys out of bytes: ASCII ones as they are; arrows and other sequences are swallowed whole.
struct KeyDecoder {
    private enum State {
        /// Exits: escaped, at an escape.
        case plain
        /// Exits: sequence, at a bracket or O; plain otherwise.
        case escaped
        /// Exits: plain, at the final byte.
        case sequence
    }

    private var state = State.plain

    mutating func decode(_ byte: UInt8) -> Character? {
        switch state {
        case .plain:
            if byte == 0x1B { state = .escaped }
            return byte < 0x80 && byte != 0x1B ? Character(UnicodeScalar(byte)) : nil
        case .escaped:
            state = byte == UInt8(ascii: "[") || byte == UInt8(ascii: "O") ? .sequence : .plain
            return nil
        case .sequence:
            if (0x40...0x7E).contains(byte) { state = .plain }
            return nil
        }
    }
}

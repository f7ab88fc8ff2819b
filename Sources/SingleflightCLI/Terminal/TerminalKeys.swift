import Foundation

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A key that was pressed.
enum TerminalKey: Hashable, Sendable {
    case character(Character)
    case up, down, pageUp, pageDown, home, end
    case enter, escape, backspace
}

/// Keys that are typed.
enum TerminalKeys {
    /// Calls `handler` for every key that is typed at `descriptor`, as long as this process lives.
    ///
    /// It reads on a thread of its own, blocking: to make a terminal non-blocking would change it for the shell as
    /// well.
    static func read(from descriptor: Int32, _ handler: @escaping @Sendable (TerminalKey) -> Void) {
        Thread.detachNewThread {
            var decoder = KeyDecoder()
            var byte: UInt8 = 0
            while true {
                if decoder.isUndecided, !isReadable(descriptor) {
                    if let key = decoder.pause() { handler(key) }
                }
                let count = systemRead(descriptor, &byte)
                if count < 0, errno == EINTR { continue }
                guard count == 1 else { return }
                if let key = decoder.decode(byte) { handler(key) }
            }
        }
    }

    /// Whether more comes at once, as it does behind the first byte of a sequence, even over a slow line.
    private static func isReadable(_ descriptor: Int32) -> Bool {
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&request, 1, 50) != 0
    }

    private static func systemRead(_ descriptor: Int32, _ byte: inout UInt8) -> Int {
        #if canImport(Darwin)
            Darwin.read(descriptor, &byte, 1)
        #else
            Glibc.read(descriptor, &byte, 1)
        #endif
    }
}

/// Makes keys out of bytes: characters in UTF-8, and the sequences that terminals send for the keys with names.
/// Sequences of other keys are swallowed whole.
struct KeyDecoder {
    private enum State {
        /// Exits: escaped, at an escape; character, at the first byte of one beyond ASCII.
        case plain
        /// Exits: sequence, at a bracket or O; plain otherwise.
        case escaped
        /// Exits: plain, at the final byte.
        case sequence([UInt8])
        /// Exits: plain, when the character is whole or turns out to be none.
        case character([UInt8], missing: Int)
    }

    private var state = State.plain

    /// Whether the escape that came may be a key of its own.
    var isUndecided: Bool {
        if case .escaped = state { true } else { false }
    }

    /// Nothing came for a while.
    mutating func pause() -> TerminalKey? {
        guard isUndecided else { return nil }
        state = .plain
        return .escape
    }

    mutating func decode(_ byte: UInt8) -> TerminalKey? {
        switch state {
        case .plain: return begin(byte)
        case .escaped:
            let isSequence = byte == UInt8(ascii: "[") || byte == UInt8(ascii: "O")
            state = isSequence ? .sequence([]) : .plain
            return nil
        case .sequence(let parameters):
            guard (0x40...0x7E).contains(byte) else {
                state = .sequence(parameters + [byte])
                return nil
            }
            state = .plain
            return Self.key(final: byte, parameters)
        case .character(let bytes, let missing):
            guard byte & 0xC0 == 0x80 else {
                state = .plain
                return begin(byte)
            }
            guard missing == 1 else {
                state = .character(bytes + [byte], missing: missing - 1)
                return nil
            }
            state = .plain
            let text = String(decoding: bytes + [byte], as: UTF8.self)
            return text == "\u{FFFD}" ? nil : text.first.map(TerminalKey.character)
        }
    }

    private mutating func begin(_ byte: UInt8) -> TerminalKey? {
        switch byte {
        case 0x1B: state = .escaped
        case 0x0A, 0x0D: return .enter
        case 0x08, 0x7F: return .backspace
        case 0xC2...0xDF: state = .character([byte], missing: 1)
        case 0xE0...0xEF: state = .character([byte], missing: 2)
        case 0xF0...0xF4: state = .character([byte], missing: 3)
        case ..<0x80: return .character(Character(UnicodeScalar(byte)))
        default: break
        }
        return nil
    }

    private static func key(final byte: UInt8, _ parameters: [UInt8]) -> TerminalKey? {
        switch (byte, String(decoding: parameters, as: UTF8.self)) {
        case (UInt8(ascii: "A"), ""): .up
        case (UInt8(ascii: "B"), ""): .down
        case (UInt8(ascii: "H"), ""), (UInt8(ascii: "~"), "1"), (UInt8(ascii: "~"), "7"): .home
        case (UInt8(ascii: "F"), ""), (UInt8(ascii: "~"), "4"), (UInt8(ascii: "~"), "8"): .end
        case (UInt8(ascii: "~"), "5"): .pageUp
        case (UInt8(ascii: "~"), "6"): .pageDown
        default: nil
        }
    }
}

/// Bytes as text and back without loss, for parts of the program that know text only: the parser of arguments, tables.
///
/// A byte that is no part of UTF-8 becomes a character of a private plane. Where text holds such characters itself,
/// their bytes become such characters, one by one: every text stands for one sequence of bytes, and the other way
/// round.
package enum ByteText {
    private static let base: UInt32 = 0x10_F700
    private static let escapes: ClosedRange<UInt32> = 0x10_F780...0x10_F7FF

    package static func text(_ bytes: some Sequence<UInt8>) -> String {
        var rest = Array(bytes)[...]
        var text = String.UnicodeScalarView()
        while !rest.isEmpty {
            var parser = Unicode.UTF8.ForwardParser()
            var iterator = rest.makeIterator()
            let length: Int
            switch parser.parseScalar(from: &iterator) {
            case .valid(let encoded):
                let scalar = Unicode.UTF8.decode(encoded)
                length = encoded.count
                if escapes.contains(scalar.value) {
                    text.append(contentsOf: rest.prefix(length).map(escape))
                } else {
                    text.append(scalar)
                }
            case .error(let count):
                length = count
                text.append(contentsOf: rest.prefix(length).map(escape))
            case .emptyInput: length = rest.count
            }
            rest.removeFirst(length)
        }
        return String(text)
    }

    package static func bytes(_ text: String) -> [UInt8] {
        text.unicodeScalars.reduce(into: []) { bytes, scalar in
            if let byte = byte(scalar) { bytes.append(byte) } else { bytes += scalar.utf8 }
        }
    }

    /// The byte that `scalar` stands for, if it stands for one.
    static func byte(_ scalar: Unicode.Scalar) -> UInt8? {
        escapes.contains(scalar.value) ? UInt8(scalar.value - base) : nil
    }

    private static func escape(_ byte: UInt8) -> Unicode.Scalar {
        Unicode.Scalar(base + UInt32(byte)) ?? "\u{FFFD}"
    }
}

extension UInt8 {
    /// Two digits.
    var hexadecimal: String { String(self >> 4, radix: 16) + String(self & 0xF, radix: 16) }
}

extension Unicode.Scalar {
    fileprivate var utf8: [UInt8] { Array(String(Character(self)).utf8) }
}

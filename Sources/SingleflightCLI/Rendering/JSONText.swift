import Foundation

/// JSON as this command prints it: keys in a fixed order, so that two runs can be compared line by line.
package enum JSONText {
    /// An indented document, ended by a newline; an empty list is `[]`.
    package static func document(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let text = String(decoding: try encoder.encode(value), as: UTF8.self)
        // Foundation spreads an empty list over three lines.
        return safe(text.allSatisfy { $0.isWhitespace || $0 == "[" || $0 == "]" } ? "[]" : text) + "\n"
    }

    /// Some elements of a list that is written piece by piece; with ``endOfElements`` behind the last it is what
    /// ``document(_:)`` makes of them all.
    package static func elements(_ values: [some Encodable], isFirst: Bool) throws -> String {
        values.isEmpty ? "" : (isFirst ? "[" : ",") + (try document(values)).dropFirst().dropLast(endOfElements.count)
    }

    /// Ends a list of at least one element.
    package static let endOfElements = "\n]\n"

    /// One value a line, each ended by a newline; nothing for an empty list.
    package static func lines(_ values: [some Encodable]) throws -> String {
        let encoder = lineEncoder()
        return try values.map { safe(String(decoding: try encoder.encode($0), as: UTF8.self)) + "\n" }.joined()
    }

    /// `value` on one line, without the newline.
    package static func line(_ value: some Encodable) throws -> String {
        safe(String(decoding: try lineEncoder().encode(value), as: UTF8.self))
    }

    /// Escapes what Foundation leaves as it is, and a terminal would obey: further control characters, and marks that
    /// turn the direction of text. Outside of strings there are none.
    private static func safe(_ json: String) -> String {
        guard json.unicodeScalars.contains(where: isObeyed) else { return json }
        return json.unicodeScalars.reduce(into: "") { safe, scalar in
            guard isObeyed(scalar) else { return safe.unicodeScalars.append(scalar) }
            let digits = String(scalar.value, radix: 16)
            safe += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
    }

    private static func isObeyed(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x7F...0x9F, 0x61C, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069: true
        default: false
        }
    }

    private static func lineEncoder() -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    package static func decode<Value: Decodable>(_ type: Value.Type, from line: String) throws -> Value {
        try JSONDecoder().decode(type, from: Data(line.utf8))
    }
}

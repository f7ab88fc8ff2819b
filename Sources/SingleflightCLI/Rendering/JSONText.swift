import Foundation

/// JSON as this command prints it: keys in a fixed order, so that two runs can be compared line by line.
package enum JSONText {
    /// An indented document, ended by a newline; an empty list is `[]`.
    package static func document(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let text = String(decoding: try encoder.encode(value), as: UTF8.self)
        // Foundation spreads an empty list over three lines.
        return (text.allSatisfy { $0.isWhitespace || $0 == "[" || $0 == "]" } ? "[]" : text) + "\n"
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
        return try values.map { String(decoding: try encoder.encode($0), as: UTF8.self) + "\n" }.joined()
    }

    /// `value` on one line, without the newline.
    package static func line(_ value: some Encodable) throws -> String {
        String(decoding: try lineEncoder().encode(value), as: UTF8.self)
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

import Foundation

/// A key in JSON: as text, and where it is no text also its bytes in base64.
enum JSONKey {
    static func encode<Keys>(
        _ key: String,
        into values: inout KeyedEncodingContainer<Keys>,
        _ text: Keys,
        _ base64: Keys
    ) throws {
        let bytes = ByteText.bytes(key)
        let lossy = String(decoding: bytes, as: UTF8.self)
        try values.encode(lossy, forKey: text)
        if Array(lossy.utf8) != bytes { try values.encode(Data(bytes).base64EncodedString(), forKey: base64) }
    }

    static func decode<Keys>(_ values: KeyedDecodingContainer<Keys>, _ text: Keys, _ base64: Keys) throws -> String {
        let encoded = try values.decodeIfPresent(String.self, forKey: base64)
        if let bytes = encoded.flatMap({ Data(base64Encoded: $0) }) { return ByteText.text(bytes) }
        return ByteText.text(try values.decode(String.self, forKey: text).utf8)
    }
}

/// `<group>:<key>` as it stands in the names of a flight's keys, in announcements and in events.
struct FlightName: Hashable, Sendable {
    var group: String
    /// The key as it is encoded, or its digest.
    var encodedKey: String

    /// `nil` where there is no colon: groups hold none.
    init?(_ name: Substring) {
        guard let colon = name.firstIndex(of: ":") else { return nil }
        self.group = String(name[..<colon])
        self.encodedKey = String(name[name.index(after: colon)...])
    }

    /// The key; `nil` if the name is a digest.
    var bytes: [UInt8]? { Keyspace.decode(self.encodedKey.utf8[...]) }

    /// The key as text, with bytes that are not UTF-8 replaced; `nil` if the name is a digest.
    var text: String? { self.bytes.map { String(decoding: $0, as: UTF8.self) } }
}

extension String {
    /// Text of whatever origin, as it may stand in a span or a log line: at most 256 bytes of it, and no control
    /// characters, which could make one line look like two.
    init(shown bytes: some Sequence<UInt8>) {
        let printable = bytes.prefix(256).map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: "?") : $0 }
        self.init(decoding: printable, as: UTF8.self)
    }
}

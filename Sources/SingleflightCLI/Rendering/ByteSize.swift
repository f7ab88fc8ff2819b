/// A number of bytes for sentences: `8 MiB`.
enum ByteSize {
    static func text(
        _ bytes: Int,
        units: (one: String, kibi: String, mebi: String) = (" bytes", " KiB", " MiB")
    ) -> String {
        switch bytes {
        case _ where bytes > 0 && bytes.isMultiple(of: 1 << 20): "\(bytes >> 20)\(units.mebi)"
        case _ where bytes > 0 && bytes.isMultiple(of: 1 << 10): "\(bytes >> 10)\(units.kibi)"
        default: "\(bytes)\(units.one)"
        }
    }
}

/// A number of bytes for sentences: `8 MiB`.
enum ByteSize {
    static func text(_ bytes: Int) -> String {
        switch bytes {
        case _ where bytes > 0 && bytes.isMultiple(of: 1 << 20): "\(bytes >> 20) MiB"
        case _ where bytes > 0 && bytes.isMultiple(of: 1 << 10): "\(bytes >> 10) KiB"
        default: "\(bytes) bytes"
        }
    }
}

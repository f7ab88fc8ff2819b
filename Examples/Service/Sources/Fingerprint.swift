import Crypto
import Foundation

/// Stands for what is too long, or too secret, to be stored itself.
enum Fingerprint {
    /// SHA-256, in hexadecimal digits. The parts stay apart: the length of each goes before it.
    static func of(_ parts: any Sequence<UInt8>...) -> String {
        var hash = SHA256()
        for part in parts {
            let bytes = Data(part)
            hash.update(data: Data("\(bytes.count):".utf8))
            hash.update(data: bytes)
        }
        return hash.finalize().map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }
}

import Support

@testable import SingleflightCLI

/// Text from elsewhere can be printed: it holds nothing that a terminal acts upon, fits where it is cut to fit, and no
/// password of a URL in it shows.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = Input(start, count)
    let isASCII = input.byte() & 1 == 0
    let cells = Int(input.byte())
    let text = String(decoding: input.bytes, as: UTF8.self)
    let safe = SafeText.escape(text, ascii: isASCII)
    for scalar in safe.unicodeScalars {
        switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator: expect(false, "U+\(String(scalar.value, radix: 16))")
        case .format: expectEqual(scalar, "\u{200D}", "a format character")
        default: expect(!isASCII || scalar.isASCII, "beyond ASCII: \(scalar)")
        }
    }
    let cut = SafeText.truncate(safe, to: cells, ascii: isASCII)
    expect(SafeText.width(cut) <= cells, "\(SafeText.width(cut)) cells of \(cells)")
    expect(SafeText.width(safe) > cells || cut == safe, "cut without need")

    // A password between two words, without white space or a colon of its own, whatever else it consists of.
    let password = String(text.filter { !$0.isWhitespace }.prefix(40))
    guard !password.isEmpty else { return 0 }
    let told = Redaction.withoutSecrets("cannot reach redis://user:\u{1}\(password)@host:1/0 now")
    expectEqual(Array(told.utf8), Array("cannot reach redis://user:***@host:1/0 now".utf8), "the password shows")
    return 0
}

import ArgumentParser

/// A number of bytes as people type it: `500`, `64k`, `8M`; a k is 1024.
package struct ByteCount: ExpressibleByArgument, Hashable, Sendable {
    package let bytes: Int

    package init(_ bytes: Int) { self.bytes = bytes }

    package init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        let factors = ["": 1, "k": 1 << 10, "K": 1 << 10, "M": 1 << 20]
        guard let number = Int(digits), let factor = factors[String(argument[digits.endIndex...])],
            number <= (1 << 40) / factor
        else { return nil }
        bytes = number * factor
    }

    package var defaultValueDescription: String { ByteSize.text(bytes, units: ("", "k", "M")) }
}

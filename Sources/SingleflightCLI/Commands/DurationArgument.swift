import ArgumentParser

/// A duration as people type it: `500ms`, `10s`, `5m`, `1h`, `1.5h`; a number alone is refused, because nobody can
/// tell its unit.
package struct DurationArgument: ExpressibleByArgument, Hashable, Sendable {
    package let duration: Duration

    package init(_ duration: Duration) { self.duration = duration }

    package init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        // Further than a century no `Duration` of ours is computed with.
        guard let number = Double(digits), let seconds = Self.seconds(in: argument[digits.endIndex...]),
            number * seconds <= 100 * 365 * 86_400
        else { return nil }
        duration = .nanoseconds(Int64((number * seconds * 1e9).rounded()))
    }

    private static func seconds(in unit: Substring) -> Double? {
        switch unit {
        case "ms": 0.001
        case "s": 1
        case "m", "min": 60
        case "h": 3_600
        case "d": 86_400
        default: nil
        }
    }

    /// What help shows as the default.
    package var defaultValueDescription: String { DurationText.describe(duration).replacing(" ", with: "") }
}

extension DurationArgument {
    /// - Throws: ``ValidationError`` unless the duration of the option `name` lies in `range`.
    package func validate(_ name: String, in range: ClosedRange<Duration>) throws {
        guard range.contains(duration) else {
            throw ValidationError(
                "\(name) is \(DurationText.describe(range.lowerBound)) to \(DurationText.describe(range.upperBound)), "
                    + "not \(DurationText.describe(duration))"
            )
        }
    }
}

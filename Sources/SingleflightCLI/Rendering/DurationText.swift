import Foundation

/// Durations as people read them: `85 µs`, `340 ms`, `1.2 s`, `2 min 5 s`, `3 h 12 min`, `2 d 4 h`.
package enum DurationText {
    /// Two significant parts at most; negative durations keep their sign; `ascii` writes `us` for `µs`.
    package static func describe(_ duration: Duration, ascii: Bool = false) -> String {
        guard duration >= .zero else { return "-" + describe(.zero - duration, ascii: ascii) }
        let (seconds, attoseconds) = duration.components
        let microseconds = Double(seconds) * 1e6 + Double(attoseconds) / 1e12
        // Each limit is where rounding would carry into the next unit: 999.6 ms is 1.0 s, not 1000 ms.
        if microseconds < 999.5 { return "\(Int(microseconds.rounded())) \(ascii ? "us" : "µs")" }
        let milliseconds = microseconds / 1e3
        if milliseconds < 9.95 { return String(format: "%.1f ms", milliseconds) }
        if milliseconds < 999.5 { return "\(Int(milliseconds.rounded())) ms" }
        if milliseconds < 59_950 { return String(format: "%.1f s", milliseconds / 1e3) }
        return long(seconds: attoseconds >= 500_000_000_000_000_000 ? seconds + 1 : seconds)
    }

    private static func long(seconds: Int64) -> String {
        switch seconds {
        case ..<3_600: parts(seconds / 60, "min", seconds % 60, "s")
        case ..<86_400: parts(seconds / 3_600, "h", seconds % 3_600 / 60, "min")
        default: parts(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h")
        }
    }

    private static func parts(_ large: Int64, _ unit: String, _ small: Int64, _ smallUnit: String) -> String {
        small == 0 ? "\(large) \(unit)" : "\(large) \(unit) \(small) \(smallUnit)"
    }
}

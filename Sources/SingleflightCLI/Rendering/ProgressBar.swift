/// A share of the work as a bar.
enum ProgressBar {
    private static let width = 8

    /// `█████░░░ 62 % reading`, as far as it is known; where nobody looks `62 % reading`, which programs read more
    /// easily.
    static func text(_ fraction: Double?, _ progress: String?, for terminal: Terminal) -> String {
        guard let fraction, terminal.isInteractive else { return progress ?? "" }
        let done = Int((min(max(fraction, 0), 1) * Double(width)).rounded())
        let bar = String(repeating: terminal.isASCII ? "#" : "█", count: done)
        return bar + String(repeating: terminal.isASCII ? "-" : "░", count: width - done) + " " + (progress ?? "")
    }
}

import Foundation

/// Moments as people read them, in the local time zone.
package enum ClockText {
    /// `14:05:12`.
    ///
    /// - Parameter moment: the time since 1970.
    package static func time(_ moment: Duration) -> String {
        let parts = parts(of: moment)
        return String(format: "%02d:%02d:%02d", parts.tm_hour, parts.tm_min, parts.tm_sec)
    }

    /// `14:05:12.345`.
    package static func timeWithMilliseconds(_ moment: Duration) -> String {
        time(moment) + String(format: ".%03d", Int32(moment.wholeMilliseconds % 1_000))
    }

    /// `2026-11-28 14:05:12`.
    package static func date(_ moment: Duration) -> String {
        let parts = parts(of: moment)
        return String(format: "%04d-%02d-%02d ", parts.tm_year + 1_900, parts.tm_mon + 1, parts.tm_mday) + time(moment)
    }

    private static func parts(of moment: Duration) -> tm {
        var seconds = time_t(moment.components.seconds)
        var parts = tm()
        localtime_r(&seconds, &parts)
        return parts
    }
}

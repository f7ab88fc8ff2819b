/// How many keys a SCAN may look at, so that it keeps the server for a moment only. A value: measured times come in.
struct ScanPace: Sendable {
    /// What a step may take: all others that ask the server wait as long.
    private static let limit = Duration.microseconds(500)
    /// Larger steps make the whole no faster: the way there and back is a small part of it then.
    private static let largest = 1_000
    private static let smallest = 10

    /// For the next step. The first is small: nothing is known of the server yet.
    private(set) var count = 100

    /// Takes note of how long a step of ``count`` keys kept the server. After a step that was too long the next one has
    /// half as many keys; the number grows back slowly.
    mutating func took(_ duration: Duration) {
        if duration > Self.limit {
            count = max(count / 2, Self.smallest)
        } else if duration < Self.limit / 2 {
            count = min(count + count / 4, Self.largest)
        }
    }
}

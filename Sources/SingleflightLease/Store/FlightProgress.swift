import Singleflight

/// How far an operation has come, in its own words.
public struct FlightProgress: Hashable, Sendable, CustomStringConvertible {
    /// The share of the work that is done, from 0 to 1, if it is known.
    public var fraction: Double?
    /// What is being done; at most 1024 bytes of UTF-8 reach other processes, longer ones are cut.
    public var message: String
    /// Counts the reports of a flight's operation from 1, so that an older one that comes late is known as such; 0 if
    /// nothing tells. Two reports that say the same are equal whatever their numbers.
    package var number: UInt64 = 0

    /// Creates a report; a fraction outside 0 to 1 is clamped, one that is not a number is dropped.
    public init(fraction: Double? = nil, message: String = "") {
        self.fraction = fraction.flatMap { $0.isNaN ? nil : min(max($0, 0), 1) }
        self.message = message
    }

    /// Whether both say the same.
    public static func == (left: FlightProgress, right: FlightProgress) -> Bool {
        left.fraction == right.fraction && left.message == right.message
    }

    /// Hashes what the report says.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.fraction)
        hasher.combine(self.message)
    }

    /// The share and the message, of which 200 characters; on one line.
    public var description: String {
        let share = self.fraction.map { "\(Int($0 * 100)) %" }
        return [share, self.message.isEmpty ? nil : String(line: self.message)].compactMap { $0 }.joined(
            separator: ": "
        )
    }

    /// The longest message that is told to other processes, in bytes of UTF-8.
    static let maximumMessageBytes = 1024

    /// The same, with a message that is short enough to be told to other processes: cut at a character.
    var shortened: FlightProgress {
        guard self.message.utf8.count > Self.maximumMessageBytes else { return self }
        var short = self
        short.message = ""
        var count = 0
        for character in self.message {
            count += character.utf8.count
            guard count <= Self.maximumMessageBytes else { break }
            short.message.append(character)
        }
        return short
    }
}

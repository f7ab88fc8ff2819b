/// A word of a story: a part of the stream.
struct Word: Codable, Sendable {
    /// The instance that writes.
    var by: String
    /// The run of the writer, and the word's number in it. A browser that comes back says by them what it has.
    var place: Place
    var text: String
}

/// How far a browser is.
struct Place: Codable, Equatable, Sendable {
    var run: String
    var number: Int

    init(run: String, number: Int) {
        self.run = run
        self.number = number
    }

    /// Reads the id of an event; `nil` for anything that is not one.
    init?(id: String) {
        let parts = id.split(separator: "-")
        guard parts.count == 2, let number = Int(parts[1]) else { return nil }
        self.init(run: String(parts[0]), number: number)
    }

    /// The id of the word's event.
    var id: String { "\(self.run)-\(self.number)" }
}

/// Stands in for what is slow and gives its result bit by bit: a model, an export.
enum Story {
    /// Why the story of `broken` ends early.
    struct OutOfInk: Error, CustomStringConvertible {
        var description: String { "there is no ink left" }
    }

    /// Hands over word by word, one in 50 ms.
    static func write(_ name: String, by writer: String, _ hand: (Word) async throws -> Void) async throws {
        let text = """
            The \(name) asked a slow machine for a story, and so did others nearby. The machine told it once, one word \
            after the other; those who came late heard it from the first word on, and nobody missed the end.
            """
        let run = String(UInt32.random(in: .min ... .max), radix: 36)
        for (number, word) in text.split(separator: " ").enumerated() {
            try await Task.sleep(for: .milliseconds(50))
            if name == "broken", number == 10 { throw OutOfInk() }
            try await hand(Word(by: writer, place: Place(run: run, number: number), text: String(word)))
        }
    }
}

import ArgumentParser

/// What somebody may have meant who typed what makes no sense.
enum UsageHint {
    /// The command that a word nearly is; nil if it is one, or is like none of them.
    static func command(like word: String) -> String? {
        let names = SingleflightCommand.configuration.subcommands.compactMap { command -> String? in
            command.configuration.shouldDisplay ? command.configuration.commandName : nil
        }
        guard !names.contains(word), !word.hasPrefix("-") else { return nil }
        if let longer = names.first(where: { word.count >= 2 && $0.hasPrefix(word) }) { return longer }
        let nearest = names.map { (name: $0, distance: distance($0, word)) }.min { $0.distance < $1.distance }
        return nearest.flatMap { $0.distance <= max(1, word.count / 3) ? $0.name : nil }
    }

    /// What to add to the parser's message about a value. A number is only refused where a duration is wanted.
    static func value(in message: String) -> String? {
        guard let start = message.firstRange(of: "The value '"),
            let end = message[start.upperBound...].firstRange(of: "' is invalid for '"), message.hasSuffix(">'")
        else { return nil }
        let value = message[start.upperBound..<end.lowerBound]
        guard Double(value) != nil else { return nil }
        return "say its unit: \(value)s, \(value)m, \(value)h or \(value)ms"
    }

    /// How many characters have to be changed, put in or left out to make one of the other (Levenshtein).
    private static func distance(_ left: String, _ right: String) -> Int {
        let right = Array(right)
        var row = Array(0...right.count)
        for (index, character) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in right.indices {
                let changed = diagonal + (right[column] == character ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(changed, row[column] + 1, row[column + 1] + 1)
            }
        }
        return row[right.count]
    }
}

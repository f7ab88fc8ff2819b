#if Configuration
    package import Configuration

    /// Values of a reader that are missing, or are what they should be: a mistyped one is not taken for a missing one.
    package struct ConfiguredValues {
        package struct Fault: Error {
            package var message: String
        }

        private let config: ConfigReader

        package init(config: ConfigReader) {
            self.config = config
        }

        package func number(_ key: String) throws(Fault) -> Int? {
            let value = self.config.int(forKey: ConfigKey(key))
            try self.check(key, isThere: value != nil, "a whole number")
            return value
        }

        /// - Parameter key: of a time in seconds.
        package func read(_ key: String, into duration: inout Duration) throws(Fault) {
            let whole = self.config.int(forKey: ConfigKey(key)).map(Double.init)
            let seconds = whole ?? self.config.double(forKey: ConfigKey(key))
            // Not-a-number is not less than anything.
            let isOne = seconds.map { $0.magnitude < 1e9 } ?? false
            try self.check(key, isThere: isOne, "a number of seconds")
            if isOne, let seconds {
                duration = .seconds(seconds)
            }
        }

        package func read(_ key: String, into flag: inout Bool) throws(Fault) {
            let value = self.config.bool(forKey: ConfigKey(key))
            try self.check(key, isThere: value != nil, "true or false")
            flag = value ?? flag
        }

        package func read<Word>(_ key: String, of words: [String: Word], into word: inout Word) throws(Fault) {
            guard let text = self.config.string(forKey: ConfigKey(key)) else { return }
            guard let value = words[text] else {
                let words = words.keys.sorted().joined(separator: " or ")
                throw Fault(message: "\(key) is \(text.debugDescription), not \(words)")
            }
            word = value
        }

        /// Refuses a value that is there, but not as what it should be.
        private func check(_ key: String, isThere: Bool, _ kind: String) throws(Fault) {
            guard !isThere, let text = self.config.string(forKey: ConfigKey(key)) else { return }
            throw Fault(message: "\(key) is \(text.debugDescription), not \(kind)")
        }
    }
#endif

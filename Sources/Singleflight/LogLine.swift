extension String {
    /// Text of whatever origin, as it may stand in a log line: at most 200 characters of it, with spaces for line
    /// breaks.
    package init(line text: String) {
        let characters = text.prefix(200).map { $0.isNewline ? " " : $0 }
        self.init(characters)
    }
}

/// One event of `text/event-stream`.
struct ServerSentEvent {
    /// What a page listens for; `nil` is `message`.
    var name: String?
    /// What a browser names when it comes back, in `Last-Event-ID`. No line break.
    var id: String?
    var data: String

    init(_ name: String? = nil, id: String? = nil, data: String = "") {
        self.name = name
        self.id = id
        self.data = data
    }

    /// Says when a browser comes back whose response has ended.
    static let retry = "retry: 1000\n\n"
    /// Says nothing, so that nobody on the way takes the connection for a dead one.
    static let comment = ":\n\n"

    /// As it is sent. An event without data is not told to a page, so there is a line for it in any case.
    var text: String {
        var lines: [String] = []
        if let name { lines.append("event: \(name)") }
        if let id { lines.append("id: \(id)") }
        for line in self.data.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            lines.append("data: \(line)")
        }
        return lines.map { $0 + "\n" }.joined() + "\n"
    }
}

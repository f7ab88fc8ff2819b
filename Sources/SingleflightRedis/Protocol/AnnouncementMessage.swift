import SingleflightLease

/// An announcement as it arrives in an inbox; the layout is in docs/protocol.md.
///
/// ```
/// 0  1  version, "2"      2   1  "i": the payload follows, "h": it does not    35  name of the flight's key, line feed
/// 1  1  status            3  32  token                                             payload
/// ```
struct AnnouncementMessage: Hashable {
    /// The flight's key, as it stands in the names of its keys.
    var name: String
    var announcement: Announcement

    private static let fixedLength = 35

    /// `nil` for whatever this version does not understand: the flights concerned poll in any case.
    init?(bytes: [UInt8]) {
        guard bytes.count > Self.fixedLength, bytes[0] == UInt8(ascii: "2"),
            let token = LeaseToken(bytes: bytes[3..<Self.fixedLength]),
            let nameEnd = bytes[Self.fixedLength...].firstIndex(of: UInt8(ascii: "\n"))
        else { return nil }
        self.name = String(decoding: bytes[Self.fixedLength..<nameEnd], as: UTF8.self)
        let news: Announcement.News
        switch (bytes[1], bytes[2]) {
        case (UInt8(ascii: "n"), _):
            // Only whether somebody hears it was of interest.
            return nil
        case (UInt8(ascii: "u"), _):
            news = .unawaited
        case (UInt8(ascii: "p"), _):
            guard let progress = FlightProgress(wireForm: bytes[(nameEnd + 1)...]) else { return nil }
            news = .progress(progress)
        case (UInt8(ascii: "d"), _):
            guard let chunk = StoredChunk(wireForm: bytes[(nameEnd + 1)...]) else { return nil }
            news = .chunk(chunk)
        case (let status, UInt8(ascii: "i")):
            guard let outcome = StoredOutcome(status: status, payload: Array(bytes[(nameEnd + 1)...])) else {
                return nil
            }
            news = .outcome(outcome)
        default:
            news = .hint
        }
        self.announcement = Announcement(token: token, news: news)
    }
}

extension FlightProgress {
    /// The report's number, a space, the fraction in decimal, or nothing; a line feed; the message.
    var wireForm: String {
        "\(self.number) \(self.fraction.map { String($0) } ?? "")\n\(self.message)"
    }

    /// `nil` for bytes that are no progress.
    init?(wireForm: some Collection<UInt8>) {
        let text = String(decoding: wireForm, as: UTF8.self)
        guard let end = text.unicodeScalars.firstIndex(of: "\n") else { return nil }
        let words = text.utf8[..<end].split(
            separator: UInt8(ascii: " "),
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        guard words.count == 2, let number = UInt64(Substring(words[0])) else { return nil }
        self.init(
            fraction: Double(Substring(words[1])),
            message: String(text.unicodeScalars[text.unicodeScalars.index(after: end)...])
        )
        self.number = number
    }
}

extension StoredChunk {
    /// The number of chunks before it, a line feed, and the chunk if it goes along; `nil` for bytes that are nothing of
    /// the kind.
    init?(wireForm: ArraySlice<UInt8>) {
        guard let end = wireForm.firstIndex(of: UInt8(ascii: "\n")),
            let index = Int(String(decoding: wireForm[..<end], as: UTF8.self)), index >= 0
        else { return nil }
        let rest = wireForm[(end + 1)...]
        self.init(index: index, bytes: rest.isEmpty ? nil : Array(rest))
    }
}

extension StoredOutcome {
    /// The letter that stands for the kind of outcome, and what follows it.
    var wireForm: (status: String, payload: [UInt8]) {
        switch self {
        case .value(let payload): ("v", payload)
        case .failure(let payload): ("e", payload)
        case .canceled(let reason): ("c", Array(reason.wireForm.utf8))
        }
    }

    /// `nil` for a status that this version does not know.
    init?(status: UInt8, payload: [UInt8]) {
        switch status {
        case UInt8(ascii: "v"): self = .value(payload)
        case UInt8(ascii: "e"): self = .failure(payload)
        case UInt8(ascii: "c"): self = .canceled(CanceledFlight(wireForm: String(decoding: payload, as: UTF8.self)))
        default: return nil
        }
    }
}

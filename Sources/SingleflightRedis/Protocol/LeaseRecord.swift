import HiredisClient
import SingleflightLease

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What the lease key holds. Fixed fields first, at offsets that the scripts know, then a note for people, in JSON.
///
/// ```
///  0  32  token            64   8  lease in ms       80   8  retention in ms       94   4  length n of what follows
/// 32  32  leader's inbox   72   8  grace in ms       88   3  takeovers permitted   98   n  flights that it waits for
///                                                    91   3  takeovers so far           the rest is the note
/// ```
///
/// Numbers are decimal. Retention and takeovers are the flight's, and those of its first leader.
struct LeaseRecord {
    /// The part that no script reads.
    struct Note: Codable {
        var label: String
        /// Milliseconds since 1970 by the leader's clock; for display only.
        var startedAt: Int64
        var renewals: Int
        var fraction: Double?
        var message: String?
        /// The number of the report that the two are of.
        var report: UInt64?
        /// The fields of the leader's span.
        var trace: [String: String]?
        /// The key as text, where the key's name holds only its digest.
        var key: String?

        init(
            label: String,
            startedAt: Int64,
            renewals: Int,
            fraction: Double? = nil,
            message: String? = nil,
            report: UInt64? = nil,
            trace: [String: String]? = nil,
            key: String? = nil
        ) {
            self.label = label
            self.startedAt = startedAt
            self.renewals = renewals
            self.fraction = fraction
            self.message = message
            self.report = report
            self.trace = trace
            self.key = key
        }

        /// Reads a note. One that a later version writes differently must not hide the lease.
        init(json: some Collection<UInt8>) {
            let note = try? JSONDecoder().decode(Note.self, from: Data(json))
            self = note ?? Note(label: "?", startedAt: 0, renewals: 0)
        }

        /// Written by hand: an encoder costs more than all the rest of an uncontended flight, twice over.
        fileprivate func write(into bytes: inout [UInt8]) {
            bytes.append(text: "{\"label\":")
            bytes.append(json: self.label)
            bytes.append(text: ",\"startedAt\":")
            bytes.append(text: String(self.startedAt))
            bytes.append(text: ",\"renewals\":")
            bytes.append(text: String(self.renewals))
            if let fraction { bytes.append(text: ",\"fraction\":\(fraction)") }
            if let message { bytes.append(text: ",\"message\":\(message.jsonQuoted)") }
            if let report { bytes.append(text: ",\"report\":\(report)") }
            if let trace {
                let fields = trace.sorted { $0.key < $1.key }.map { "\($0.key.jsonQuoted):\($0.value.jsonQuoted)" }
                bytes.append(text: ",\"trace\":{\(fields.joined(separator: ","))}")
            }
            if let key { bytes.append(text: ",\"key\":\(key.jsonQuoted)") }
            bytes.append(text: "}")
        }
    }

    var token: LeaseToken
    var inbox: InboxID
    var duration: Duration
    var grace: Duration
    var retention: Duration
    var leaderLoss: LeaderLossPolicy
    var attempt: Int
    /// The flights that this one waits for, each as `<P>:<group>:<key>`.
    var awaited: [CircleSearch<String>.Flight] = []
    var note: Note

    private static let fixedLength = 98

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        // Room for a label of usual length; one allocation instead of one for each part.
        bytes.reserveCapacity(Self.fixedLength + 128)
        Hexadecimal(self.token).forEachDigit { bytes.append($0) }
        Hexadecimal(self.inbox).forEachDigit { bytes.append($0) }
        bytes.append(number: self.duration.milliseconds, width: 8)
        bytes.append(number: self.grace.milliseconds, width: 8)
        bytes.append(number: self.retention.milliseconds, width: 8)
        bytes.append(number: Int64(self.leaderLoss.permittedTakeovers), width: 3)
        bytes.append(number: Int64(self.attempt), width: 3)
        let awaited = self.awaited.map { "\($0.name) \($0.token)\n" }.joined()
        bytes.append(number: Int64(awaited.utf8.count), width: 4)
        bytes.append(text: awaited)
        self.note.write(into: &bytes)
        return bytes
    }

    init(
        token: LeaseToken,
        inbox: InboxID,
        duration: Duration,
        grace: Duration,
        retention: Duration,
        leaderLoss: LeaderLossPolicy,
        attempt: Int = 0,
        note: Note
    ) {
        self.token = token
        self.inbox = inbox
        self.duration = duration
        self.grace = grace
        self.retention = retention
        self.leaderLoss = leaderLoss
        self.attempt = attempt
        self.note = note
    }

    init?(bytes: [UInt8]) {
        guard bytes.count >= Self.fixedLength else { return nil }
        func number(_ range: Range<Int>) -> Int64? { Int64(decimal: bytes[range]) }
        guard let token = LeaseToken(bytes: bytes[0..<32]),
            let inbox = InboxID(String(decoding: bytes[32..<64], as: UTF8.self)),
            let duration = number(64..<72), let grace = number(72..<80), let retention = number(80..<88),
            let permitted = number(88..<91), let attempt = number(91..<94), let length = number(94..<98)
        else { return nil }
        self.token = token
        self.inbox = inbox
        self.duration = .milliseconds(duration)
        self.grace = .milliseconds(grace)
        self.retention = .milliseconds(retention)
        self.leaderLoss = permitted == 0 ? .cancel : .takeOver(attempts: Int(permitted))
        self.attempt = Int(attempt)
        let rest = bytes[Self.fixedLength...]
        self.awaited = rest.prefix(Int(length)).split(separator: UInt8(ascii: "\n")).compactMap { line in
            guard line.count > 33, let token = LeaseToken(bytes: line.suffix(32)) else { return nil }
            return CircleSearch.Flight(name: String(decoding: line.dropLast(33), as: UTF8.self), token: token)
        }
        self.note = Note(json: rest.dropFirst(Int(length)))
    }
}

extension LeaderLossPolicy {
    /// As the lease's record has it: none means that a lost leader's flight ends.
    var permittedTakeovers: Int {
        switch self {
        case .cancel: 0
        case .takeOver(let attempts): attempts
        }
    }
}

extension [UInt8] {
    /// A string that lies in memory as UTF-8 is copied in one piece; the elements of its view are not.
    fileprivate mutating func append(text: String) {
        var text = text
        text.withUTF8 { self.append(contentsOf: $0) }
    }

    /// A JSON string, quotes included.
    fileprivate mutating func append(json text: String) {
        guard text.needsEscapes else {
            self.append(UInt8(ascii: "\""))
            self.append(text: text)
            return self.append(UInt8(ascii: "\""))
        }
        self.append(text: text.jsonQuoted)
    }

    /// With zeros in front. A number that needs more digits than that gets them.
    fileprivate mutating func append(number: Int64, width: Int) {
        let digits = String(number)
        self.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: Swift.max(0, width - digits.utf8.count)))
        self.append(text: digits)
    }
}

extension FixedWidthInteger {
    /// The number that these digits stand for; `nil` for anything else, also for a sign, which `Int` would take.
    init?(decimal digits: some Collection<UInt8>) {
        guard digits.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else { return nil }
        self.init(String(decoding: digits, as: UTF8.self))
    }
}

extension Duration {
    /// Whole milliseconds, rounded up: a lease is never shorter than asked for.
    var milliseconds: Int64 {
        let (seconds, attoseconds) = self.components
        return seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    }
}

extension String {
    /// Whether it holds something that JSON has another form for.
    fileprivate var needsEscapes: Bool {
        self.utf8.contains { $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }
    }

    /// The string as a JSON string, quotes included.
    fileprivate var jsonQuoted: String {
        guard self.needsEscapes else { return "\"" + self + "\"" }
        var quoted = "\""
        for scalar in self.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\u{0}"..."\u{1F}":
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}

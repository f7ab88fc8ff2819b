import SingleflightLease
import SingleflightTestKit
import Testing

@testable import History

/// A checker that finds nothing proves nothing: histories as they happened must pass, and each way of forging one must
/// not.
@Suite("A history", .timeLimit(.minutes(5)))
struct HistoryTests {
    @Test("passes as it happened, whatever was lost or overlapped", arguments: UInt64(1)...60)
    func passes(seed: UInt64) {
        var run = HistoryRun(seed: seed)
        run.play(steps: 30)
        #expect(run.blurred().violations() == [], "seed \(seed)")
    }

    @Test("survives being written and read")
    func survivesWriting() {
        var run = HistoryRun(seed: 1)
        run.play(steps: 30)
        let read = LeaseHistory()
        for line in run.history.lines { #expect(read.read(line)) }
        #expect(read.records == run.history.records)
        #expect(read.records.count > 20)
        #expect(!read.read("no history"))
    }

    @Test("of which a process was killed ends with requests under way")
    func survivesKilling() throws {
        var run = HistoryRun(seed: 2)
        run.play(steps: 10)
        // A line that ends in the middle is what a killed process may leave, too.
        let last = try #require(run.history.lines.last { $0.contains("reply") })
        let read = LeaseHistory()
        for line in run.history.lines where line != last { read.read(line) }
        #expect(!read.read(String(last.prefix(40))))
        let open = read.records.filter(\.isOpen)
        #expect(open.count == 1)
        #expect(read.violations() == [])
    }

    @Test("of a request whose fate is unknown passes either way")
    func staysOpen() {
        for isCarriedOut in [true, false] {
            var story = Story()
            story.leads("a", "t1")
            story.add("a", story.complete("t1", "v1"), .failed("timed out", mayHaveExecuted: true))
            story.add("b", story.enter("t2"), isCarriedOut ? .lead(attempt: 0) : .follow("t1", story.left("t1")))
            #expect(story.violations == [])
        }
    }

    /// Broke once: a renewal changes nothing but when the lease runs out, and an open one was taken for a request
    /// without effect.
    @Test("of a renewal whose answer was lost passes although the lease lasts for longer than its leader knows")
    func staysRenewed() {
        var story = Story()
        story.leads("a", "t1")
        story.pass(milliseconds: 600)
        story.add("a", story.renew("t1"), .failed("timed out", mayHaveExecuted: true))
        story.pass(milliseconds: 600)
        story.add("b", story.enter("t2"), .follow("t1", 398_000_000))
        #expect(story.violations == [])
    }

    @Test("is flagged if it was forged", arguments: Forgery.allCases)
    func flags(forgery: Forgery) {
        var honest = Story()
        forgery.tell(&honest, isForged: false)
        #expect(honest.violations == [], "the honest version")
        var forged = Story()
        forgery.tell(&forged, isForged: true)
        #expect(forged.violations.count == 1, "the forged version")
    }

    @Test(
        "passes although the store lost what it held, where it may have, and not where it kept it",
        arguments: Loss.allCases
    )
    func losesData(loss: Loss) {
        for isTold in [true, false] {
            var story = Story()
            loss.tell(&story, isTold: isTold)
            #expect(story.violations.isEmpty == isTold, "\(loss), \(isTold ? "told" : "not told")")
        }
    }

    /// Data that were lost must not explain what no loss can do.
    @Test("of a store that lost data is flagged if it was forged", arguments: [true, false])
    func flagsDespiteLoss(isForged: Bool) {
        var story = Story()
        story.leads("a", "t1")
        story.loses(from: -1, to: 1)
        story.add("b", story.enter("t2"), .lead(attempt: 0))
        story.add("a", story.renew("t1"), isForged ? .renewed(waiters: 0) : .lost())
        #expect(story.violations.isEmpty == !isForged)
    }

    @Test("of which an effective request was struck out is flagged", arguments: UInt64(1)...20)
    func flagsOmission(seed: UInt64) {
        // Without the request that took the lease, somebody follows a flight that nobody began.
        var run = HistoryRun(seed: seed)
        run.play(steps: 40)
        let records = run.history.records
        let followed = records.compactMap { record -> String? in
            if case .follow(let token, _) = record.reply { token } else { nil }
        }
        let forged = records.filter { record in
            guard case .enter(let token, _, _) = record.request else { return true }
            return !followed.contains(token)
        }
        #expect(followed.isEmpty == (HistoryCheck(key: "k", records: forged).violation() == nil), "seed \(seed)")
    }
}

/// A way to forge a history. Each is told twice: as it may have happened, and forged in one place.
enum Forgery: String, CaseIterable, CustomTestStringConvertible {
    case secondLeader = "two lead at once"
    case otherOutcome = "a waiter is told another result than the accepted one"
    case acceptedAfterTakeover = "a result is accepted from a leader that was replaced"
    case secondResult = "a second result is accepted under one token"
    case fenceGoesBack = "a fence goes back"
    case renewedAfterLoss = "a lease is renewed after it was lost"
    case canceledTooEarly = "a flight is canceled while its lease lasts"
    case aliveTooLong = "a lease lasts longer than it was granted for"
    case deniedButDone = "a request that certainly failed has an effect"
    case heardUndecided = "an outcome is announced that nobody decided"
    case forgottenTooEarly = "an outcome is forgotten before its retention ends"
    case waiterVanishes = "a waiter is not told of"
    case staleReadBack = "what was over before is seen again"
    case lateByItself = "more time is left than the lease ever had"
    case otherReason = "a leader is told another reason than the one that was decided"

    var testDescription: String { self.rawValue }

    func tell(_ story: inout Story, isForged: Bool) {
        switch self {
        case .secondLeader:
            story.leads("a", "t1")
            story.add("b", story.enter("t2"), isForged ? .lead(attempt: 0) : .follow("t1", story.left("t1")))
        case .otherOutcome:
            story.shared("t1")
            story.add("a", story.complete("t1", "v1"), .accepted(waiters: 1))
            story.add("b", story.poll("t1"), .done(Story.value(isForged ? "v2" : "v1")))
        case .acceptedAfterTakeover:
            story.add("a", story.enter("t1", takeovers: 2), .lead(attempt: 0))
            story.pass(milliseconds: 1100)
            story.add("b", story.enter("t2"), .lead(attempt: 1))
            let refused = HistoryReply.stale(current: Story.name("t2"))
            story.add("a", story.complete("t1", "v1"), isForged ? .accepted(waiters: 0) : refused)
        case .secondResult:
            story.shared("t1")
            story.add("a", story.complete("t1", "v1"), .accepted(waiters: 1))
            story.add("a", story.complete("t1", "v2"), isForged ? .accepted(waiters: 1) : .duplicate)
        case .fenceGoesBack:
            story.leads("a", "t1")
            story.add("a", .fence(token: Story.name("t1")), .drawn(1000))
            story.add("a", .fence(token: Story.name("t1")), .drawn(isForged ? 999 : 1001))
        case .renewedAfterLoss:
            story.leads("a", "t1")
            story.add("c", story.revoke("t1"), .revoked(token: Story.name("t1"), waiters: 0))
            story.add("a", story.renew("t1"), isForged ? .renewed(waiters: 0) : .lost(reason: "revoked\nops\n"))
        case .canceledTooEarly:
            story.shared("t1")
            story.pass(milliseconds: isForged ? 500 : 1100)
            story.add("b", story.poll("t1"), .done(.canceled("expired")))
        case .aliveTooLong:
            story.leads("a", "t1")
            story.pass(milliseconds: isForged ? 1100 : 800)
            story.add("a", story.renew("t1"), .renewed(waiters: 0))
        case .deniedButDone:
            story.leads("a", "t1")
            story.add("a", story.complete("t1", "v1"), .failed("not sent", mayHaveExecuted: !isForged))
            story.add("b", story.enter("t2"), .lead(attempt: 0))
        case .heardUndecided:
            story.shared("t1")
            story.add("a", story.complete("t1", "v1"), .accepted(waiters: 1))
            story.add("b", .heard(token: Story.name("t1"), outcome: Story.value(isForged ? "v3" : "v1")), .heard)
        case .forgottenTooEarly:
            story.shared("t1")
            story.add("a", story.complete("t1", "v1"), .accepted(waiters: 1))
            story.pass(milliseconds: isForged ? 1900 : 2100)
            story.add("b", story.poll("t1"), .gone)
        case .waiterVanishes:
            story.shared("t1")
            story.add("a", story.complete("t1", "v1"), .accepted(waiters: isForged ? 0 : 1))
        case .staleReadBack:
            story.shared("t1")
            story.add("a", story.complete("t1", "v1"), .accepted(waiters: 1))
            let left = HistoryReply.running(remaining: story.left("t1"))
            story.add("b", story.poll("t1"), isForged ? left : .done(Story.value("v1")))
        case .lateByItself:
            story.leads("a", "t1")
            story.pass(milliseconds: 300)
            story.add("b", story.enter("t2"), .follow("t1", isForged ? 900_000_000 : 699_000_000))
        case .otherReason:
            story.leads("a", "t1")
            story.add("c", story.revoke("t1"), .revoked(token: Story.name("t1"), waiters: 0))
            let reason = isForged ? "expired" : "revoked\nops\n"
            story.add("a", story.complete("t1", "v1"), .stale(current: nil, reason: reason))
        }
    }
}

/// Something that a store can lose, told by what is answered afterwards.
enum Loss: CaseIterable {
    case lease, waiters, outcome, fences, everything

    /// - Parameter isTold: whether it is known that the store may have lost data just then; else it is said of another
    ///   time.
    func tell(_ story: inout Story, isTold: Bool) {
        story.shared("t1")
        func loses() {
            if isTold { story.loses(from: -1, to: 1) } else { story.loses(from: -600, to: -500) }
        }
        switch self {
        case .lease:
            loses()
            story.add("a", story.renew("t1"), .lost())
        case .waiters:
            loses()
            story.add("a", story.complete("t1", "v1"), .accepted(waiters: 0))
        case .outcome:
            story.add("a", story.complete("t1", "v1"), .accepted(waiters: 1))
            loses()
            story.add("b", story.poll("t1"), .gone)
        case .fences:
            story.add("a", .fence(token: Story.name("t1")), .drawn(1000))
            loses()
            story.add("a", .fence(token: Story.name("t1")), .drawn(1))
        case .everything:
            loses()
            story.add("c", story.enter("t2"), .lead(attempt: 0))
            story.add("c", story.complete("t2", "v2"), .accepted(waiters: 0))
        }
    }
}

/// A history told step by step, one request after the other.
struct Story {
    private var records: [HistoryRecord] = []
    private var losses: [HistoryWindow] = []
    private var now: Int64 = 1_000_000_000
    private var granted: [String: Int64] = [:]
    private static let terms = HistoryTerms(
        duration: 1_000_000_000,
        grace: 1_000_000_000,
        retention: 2_000_000_000,
        takeovers: nil,
        acceptsReuse: false
    )

    var violations: [String] {
        HistoryCheck(key: "k", records: self.records, losses: self.losses).violation().map { [$0] } ?? []
    }

    /// The store may lose data, between these milliseconds from now.
    mutating func loses(from earliest: Int64, to latest: Int64) {
        self.losses.append(
            HistoryWindow(earliest: self.now + earliest * 1_000_000, latest: self.now + latest * 1_000_000)
        )
    }

    static func name(_ short: String) -> String {
        String(repeating: "0", count: 30) + short.map { $0 == "t" ? "a" : String($0) }.joined()
    }

    static func value(_ text: String) -> HistoryOutcome { .value(Array(text.utf8)) }

    mutating func pass(milliseconds: Int64) {
        self.now += milliseconds * 1_000_000
    }

    mutating func add(_ process: String, _ request: HistoryRequest, _ reply: HistoryReply) {
        if case .lead = reply, let token = request.token {
            self.granted[token] = self.now
        }
        self.records.append(
            HistoryRecord(
                process: process,
                sequence: self.records.count,
                key: "k",
                request: request,
                invoked: self.now,
                returned: self.now + 500_000,
                reply: reply
            )
        )
        self.now += 1_000_000
    }

    /// `process` leads under `token`.
    mutating func leads(_ process: String, _ token: String) {
        self.add(process, self.enter(token), .lead(attempt: 0))
    }

    /// A leads and B waits.
    mutating func shared(_ token: String) {
        self.leads("a", token)
        self.add("b", self.enter("t9"), .follow(token, self.left(token)))
    }

    /// What is left of the lease, in nanoseconds.
    func left(_ token: String) -> Int64 {
        (self.granted[Self.name(token)] ?? self.now) + Self.terms.duration - self.now
    }

    func enter(_ token: String, takeovers: Int? = nil) -> HistoryRequest {
        var terms = Self.terms
        terms.takeovers = takeovers
        return .enter(token: Self.name(token), terms: terms, isRepetition: false)
    }

    func renew(_ token: String) -> HistoryRequest {
        .renew(token: Self.name(token), terms: Self.terms, isAbandoned: false)
    }

    func complete(_ token: String, _ value: String) -> HistoryRequest {
        .complete(
            token: Self.name(token),
            outcome: Self.value(value),
            reuse: 0
        )
    }

    func poll(_ token: String) -> HistoryRequest {
        .poll(token: Self.name(token), mayEnd: false)
    }

    func revoke(_ token: String) -> HistoryRequest {
        .revoke(token: Self.name(token), by: "ops", reason: "")
    }
}

extension HistoryReply {
    static func follow(_ token: String, _ remaining: Int64) -> HistoryReply {
        .follow(token: Story.name(token), remaining: remaining)
    }
}

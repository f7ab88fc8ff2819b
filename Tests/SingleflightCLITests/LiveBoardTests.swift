import SingleflightRedis
import Testing

@testable import SingleflightCLI

@Suite("What the live views draw")
struct LiveBoardTests {
    private static func lease(_ key: String, waiters: Int = 0, fraction: Double? = nil) -> LeaseSummary {
        LeaseSummary(
            key: key,
            group: "pages",
            leader: "host-1:1234",
            token: key + "-token",
            age: .seconds(12),
            remaining: .seconds(3),
            waiters: waiters,
            progress: fraction.map { "\(Int($0 * 100)) %" },
            fraction: fraction
        )
    }

    private static func board(_ leases: [LeaseSummary], order: LeaseOrder = .waiters) -> LeaseBoard {
        var board = LeaseBoard(title: "title", order: order, showsActivity: true)
        board.add(leases)
        board.endPass()
        return board
    }

    @Test(
        "no line is wider than the terminal, and no frame higher",
        arguments: [(60, 24), (80, 10), (100, 24), (200, 50), (50, 24), (40, 10), (20, 3), (1, 1)]
    )
    func fits(_ columns: Int, _ rows: Int) {
        let leases = (0..<100).map { Self.lease(String(repeating: "日本 ", count: 20) + "\($0)", waiters: $0) }
        let size = TerminalScreen.Size(columns: columns, rows: rows)
        for isASCII in [false, true] {
            let lines = Self.board(leases).lines(size, for: Terminal(isASCII: isASCII), at: .zero)
            #expect(lines.count == rows)
            // So narrow that not even a mark for what was cut fits beside another column, the terminal cuts.
            #expect(columns < 20 || lines.allSatisfy { SafeText.width($0) <= columns })
            #expect(!isASCII || lines.allSatisfy { $0.allSatisfy(\.isASCII) })
        }
    }

    @Test("the busiest come first, and keys change the order")
    func order() {
        var board = Self.board([Self.lease("a", waiters: 1), Self.lease("b", waiters: 5)])
        func keys() -> [Substring] {
            board.lines(.init(columns: 80, rows: 10), for: Terminal(), at: .zero)[4...5].map { $0.prefix(1) }
        }
        #expect(keys() == ["b", "a"])
        let wishes = ["k", "q", "\u{3}"].map { board.press(.character($0)) }
        #expect(wishes == [.nothing, .quit, .quit])
        #expect(keys() == ["a", "b"])
    }

    @Test("more leases than are kept are still counted")
    func many() {
        let board = Self.board((0..<5_000).map { Self.lease("\($0)", waiters: $0) })
        let lines = board.lines(.init(columns: 80, rows: 10), for: Terminal(), at: .zero)
        #expect(lines[1] == "5000 leases · 12497500 waiters")
        #expect(lines[4].hasPrefix("4999"))
        #expect(lines[9].hasPrefix("1-5 of 5000  "))
    }

    @Test("the first pass shows what it has found so far, later ones only when they are whole")
    func firstPass() {
        var board = LeaseBoard(title: "title", order: .waiters, showsActivity: false)
        func lines() -> [String] { board.lines(.init(columns: 80, rows: 10), for: Terminal(), at: .zero) }
        #expect(lines()[1] == "looking…")
        board.add([Self.lease("a", waiters: 1), Self.lease("b", waiters: 5)])
        #expect(lines()[1] == "looking… 2 leases so far")
        #expect(lines()[3...4].map { $0.prefix(1) } == ["b", "a"])
        board.endPass()
        board.add([Self.lease("c", waiters: 9)])
        #expect(lines()[1] == "2 leases · 6 waiters")
        #expect(lines()[3...4].map { $0.prefix(1) } == ["b", "a"])
    }

    @Test("a pass that failed keeps what was known, and says why")
    func failure() {
        var board = Self.board([Self.lease("front")])
        board.add([Self.lease("half")])
        board.fail("gone")
        var lines = board.lines(.init(columns: 80, rows: 10), for: Terminal(), at: .zero)
        #expect(lines[3] == "gone")
        #expect(lines.contains { $0.hasPrefix("front") } && !lines.contains { $0.hasPrefix("half") })
        board.endPass()
        lines = board.lines(.init(columns: 80, rows: 10), for: Terminal(), at: .zero)
        #expect(!lines.contains("gone"))
    }

    @Test(
        "progress is a bar where somebody looks and the share is known",
        arguments: [
            (Terminal(isInteractive: true), 0.5, "████░░░░ half"),
            (Terminal(isInteractive: true, isASCII: true), 0.5, "####---- half"),
            (Terminal(), 0.5, "half"), (Terminal(isInteractive: true), nil, "half"),
            (Terminal(isInteractive: true), 7, "████████ half"),
        ] as [(Terminal, Double?, String)]
    )
    func bar(_ terminal: Terminal, _ fraction: Double?, _ text: String) {
        #expect(ProgressBar.text(fraction, "half", for: terminal) == text)
    }

    @Test("wake-ups are those of the last hundred measurements, and one that fails is told until the next")
    func wakeUps() {
        var board = Self.board([])
        func pace() -> String { board.lines(.init(columns: 80, rows: 10), for: Terminal(), at: .zero)[2] }
        #expect(pace() == "no events")
        for number in 1...150 { board.measured(.milliseconds(number)) }
        #expect(pace() == "no events · wake-up 100 ms, p99 149 ms")
        board.measured(nil)
        #expect(pace() == "no events · no wake-up")
        board.measured(.milliseconds(150))
        #expect(pace() == "no events · wake-up 101 ms, p99 150 ms")
    }

    @Test("all that top tells fits into 60 columns")
    func narrow() {
        var board = Self.board([Self.lease("front", waiters: 3, fraction: 0.5)])
        for number in 0..<100 { board.measured(.microseconds(190 + 10 * number)) }
        for _ in 0..<10 { board.record(.acquired, at: .zero) }
        for _ in 0..<15 { board.record(.joined(anyInbox), at: .zero) }
        let lines = board.lines(
            .init(columns: 60, rows: 10),
            for: Terminal(isInteractive: true, width: 60),
            at: .seconds(1)
        )
        #expect(lines[2] == "10.0 flights/s · 60 % coalesced · wake-up 680 µs, p99 1.2 ms")
        #expect(lines[3] == "KEY    LEADER          AGE   LEFT  WAITERS  PROGRESS")
        #expect(lines[4].hasSuffix("3  ████░░░░ 50 %"))
    }

    @Test("the pace is that of the last ten seconds, the share that of all")
    func activity() {
        var activity = FlightActivity()
        #expect(activity.coalescedShare == nil)
        for second in 0..<20 {
            activity.record(.acquired, at: .seconds(second))
        }
        activity.record(.failed(nil), at: .seconds(19))
        activity.record(.canceled(.leaderShutDown), at: .seconds(19))
        for _ in 0..<2 { activity.record(.canceled(.leaseExpired), at: .seconds(19)) }
        for _ in 0..<3 { activity.record(.takenOver(from: anyToken), at: .seconds(19)) }
        activity.record(.joined(anyInbox), at: .seconds(19))
        #expect(
            FlightActivity.Kind.allCases.map { activity.perSecond($0, at: .seconds(19)) } == [1, 0.1, 0.1, 0.2, 0.3]
        )
        #expect(FlightActivity.Kind.allCases.allSatisfy { activity.perSecond($0, at: .seconds(60)) == 0 })
        #expect(activity.coalescedShare == 1.0 / 21)
    }

    private var anyToken: LeaseToken {
        var generator = SystemRandomNumberGenerator()
        return LeaseToken(using: &generator)
    }

    private var anyInbox: InboxID {
        var generator = SystemRandomNumberGenerator()
        return InboxID(using: &generator)
    }

    @Test("a frame is drawn from the top without clearing first, so that it does not flicker")
    func frame() {
        let frame = TerminalScreen.frame(["a", "b"], on: .init(columns: 80, rows: 24))
        #expect(frame == "\u{1B}[?2026h\u{1B}[Ha\u{1B}[K\r\nb\u{1B}[K\r\n\u{1B}[J\u{1B}[?2026l")
    }

    @Test("what stands in the last column is not cleared away again, with styles or without")
    func lastColumn() {
        let lines = ["12345", "\u{1B}[1m日本\u{1B}[0m5", TerminalScreen.marked("12345"), "1234"]
        let frame = TerminalScreen.frame(lines, on: .init(columns: 5, rows: 4))
        #expect(frame == "\u{1B}[?2026h\u{1B}[H" + lines.joined(separator: "\r\n") + "\u{1B}[K\u{1B}[?2026l")
    }

    @Test("keys are characters and those with names; sequences of other keys are none")
    func keys() {
        var decoder = KeyDecoder()
        let typed = "a\u{1B}[A\u{1B}OB\u{1B}OPé日\u{1B}[1;5C\u{1B}[5~\u{1B}[6~\u{1B}[H\u{1B}[F\r\u{7F}q\u{C3}"
        let keys = (Array(typed.utf8) + [0xC3, UInt8(ascii: "z")]).compactMap { decoder.decode($0) }
        #expect(
            keys == [
                .character("a"), .up, .down, .character("é"), .character("日"), .pageUp, .pageDown, .home, .end, .enter,
                .backspace, .character("q"), .character("Ã"), .character("z"),
            ]
        )
    }

    @Test("an escape behind which nothing comes is the key Escape")
    func escape() {
        var decoder = KeyDecoder()
        #expect(decoder.decode(0x1B) == nil && decoder.isUndecided)
        #expect(decoder.pause() == .escape)
        #expect(decoder.pause() == nil)
        #expect(decoder.decode(UInt8(ascii: "[")) == .character("["))
    }

    @Test("a short list is sorted; a long one comes as it is found, aligned, on a terminal and in a pipe")
    func streaming() throws {
        for terminal in [Terminal(isInteractive: true, width: 100), Terminal()] {
            var short = LeaseList(format: .table, terminal: terminal, order: nil)
            #expect(try short.add([Self.lease("b"), Self.lease("a")], after: .zero) == "")
            let keys = try short.end().split(separator: "\n").map { $0.prefix(1) }
            #expect(keys == ["K", "a", "b"])

            var long = LeaseList(format: .table, terminal: terminal, order: nil)
            let first = try long.add((0..<300).map { Self.lease("key-\($0)") }, after: .zero)
            #expect(first.split(separator: "\n").count == 301)
            let next = try long.add([Self.lease("key-300")], after: .zero)
            #expect(next.split(separator: "\n").count == 1)
            let column = { (line: Substring) in
                line.firstRange(of: "pages").map { line.distance(from: line.startIndex, to: $0.lowerBound) }
            }
            #expect(column(next[...]) != nil)
            #expect(column(first.split(separator: "\n")[1]) == column(next[...]))
            #expect(try long.end() == "")
            #expect(long.count == 301)
        }
    }

    @Test("a late row that is wider than the first ones is cut on a terminal, and whole in a pipe")
    func lateRow() throws {
        let wide = Self.lease(String(repeating: "k", count: 90))
        for (terminal, isWhole) in [(Terminal(isInteractive: true, width: 100), false), (Terminal(), true)] {
            var list = LeaseList(format: .table, terminal: terminal, order: nil)
            _ = try list.add((0..<300).map { Self.lease("key-\($0)") }, after: .zero)
            let row = try list.add([wide], after: .zero)
            #expect(row.contains(wide.key) == isWhole)
            #expect(row.contains("host-1:1234"))
        }
    }

    @Test("a list that comes in pieces is the same document as one that comes at once", arguments: [1, 2, 250])
    func pieces(_ length: Int) throws {
        let leases = (100..<550).map { Self.lease("\($0)") }
        var list = LeaseList(format: .json, terminal: Terminal(), order: nil)
        var text = ""
        for start in stride(from: 0, to: leases.count, by: length) {
            text += try list.add(Array(leases[start..<min(start + length, leases.count)]), after: .zero)
        }
        #expect(!text.isEmpty)
        text += try list.end()
        #expect(try text == LeaseRendering.list(leases, as: .json, for: Terminal()))
    }

    @Test("sorting waits for everything; nothing else waits for long", arguments: [OutputFormat.table, .json, .ndjson])
    func waiting(_ format: OutputFormat) throws {
        var sorted = LeaseList(format: format, terminal: Terminal(), order: .key)
        #expect(try sorted.add([Self.lease("b")], after: .seconds(9)) == "")
        #expect(sorted.waitsForAll)
        _ = try sorted.add([Self.lease("a")], after: .seconds(9))
        let end = try sorted.end()
        let positions = ["a-token", "b-token"].map { end.firstRange(of: $0)?.lowerBound }
        #expect(try #require(positions[0]) < #require(positions[1]))
        var streamed = LeaseList(format: format, terminal: Terminal(), order: nil)
        #expect(try streamed.add([Self.lease("a")], after: .seconds(1)).contains("a-token".prefix(8)))
        #expect(try streamed.end() == (format == .json ? "\n]\n" : ""))
    }
}

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
        arguments: [(60, 24), (80, 10), (100, 24), (200, 50), (20, 3), (1, 1)]
    )
    func fits(_ columns: Int, _ rows: Int) {
        let leases = (0..<100).map { Self.lease(String(repeating: "日本 ", count: 20) + "\($0)", waiters: $0) }
        let size = TerminalScreen.Size(columns: columns, rows: rows)
        let lines = Self.board(leases).lines(size, for: Terminal(), at: .zero)
        #expect(lines.count == rows)
        // Narrower than 60 columns the terminal cuts the table; nothing wraps.
        #expect(columns < 60 || lines.allSatisfy { SafeText.width($0) <= columns })
    }

    @Test("the busiest come first, and keys change the order")
    func order() {
        var board = Self.board([Self.lease("a", waiters: 1), Self.lease("b", waiters: 5)])
        func keys() -> [Substring] {
            board.lines(.init(columns: 80, rows: 10), for: Terminal(), at: .zero)[3...4].map { $0.prefix(1) }
        }
        #expect(keys() == ["b", "a"])
        let goesOn = ["k", "q", "\u{3}"].map { board.press($0) }
        #expect(goesOn == [true, false, false])
        #expect(keys() == ["a", "b"])
    }

    @Test("more leases than are kept are still counted")
    func many() {
        let board = Self.board((0..<5_000).map { Self.lease("\($0)", waiters: $0) })
        let lines = board.lines(.init(columns: 80, rows: 10), for: Terminal(), at: .zero)
        #expect(lines[1].hasPrefix("5000 leases · 12497500 waiters"))
        #expect(lines[3].hasPrefix("4999"))
    }

    @Test("a pass that failed keeps what was known, and says why")
    func failure() {
        var board = Self.board([Self.lease("front")])
        board.add([Self.lease("half")])
        board.fail("gone")
        var lines = board.lines(.init(columns: 80, rows: 10), for: Terminal(), at: .zero)
        #expect(lines[2] == "gone")
        #expect(lines.contains { $0.hasPrefix("front") } && !lines.contains { $0.hasPrefix("half") })
        board.endPass()
        lines = board.lines(.init(columns: 80, rows: 10), for: Terminal(), at: .zero)
        #expect(!lines.contains("gone"))
    }

    @Test("progress is a bar where the share is known", arguments: [(false, "████░░░░ 50 %"), (true, "####---- 50 %")])
    func bar(_ ascii: Bool, _ text: String) {
        #expect(ProgressBar.text(Self.lease("k", fraction: 0.5), ascii: ascii) == text)
    }

    @Test("the pace is that of the last ten seconds, the share that of all")
    func activity() {
        var activity = FlightActivity()
        #expect(activity.coalescedShare == nil)
        for second in 0..<20 {
            activity.record(.acquired, at: .seconds(second))
        }
        activity.record(.joined(anyInbox), at: .seconds(19))
        #expect(activity.flightsPerSecond(at: .seconds(19)) == 1)
        #expect(activity.flightsPerSecond(at: .seconds(60)) == 0)
        #expect(activity.coalescedShare == 1.0 / 21)
    }

    private var anyInbox: InboxID {
        var generator = SystemRandomNumberGenerator()
        return InboxID(using: &generator)
    }

    @Test("a frame is drawn from the top without clearing first, so that it does not flicker")
    func frame() {
        let frame = TerminalScreen.frame(["a", "b"])
        #expect(frame == "\u{1B}[?2026h\u{1B}[Ha\u{1B}[K\r\nb\u{1B}[K\u{1B}[J\u{1B}[?2026l")
    }

    @Test("arrows and other sequences are no keys")
    func keys() {
        var decoder = KeyDecoder()
        let typed = Array("a\u{1B}[A\u{1B}OPé\u{1B}[1;5Cq".utf8).compactMap { decoder.decode($0) }
        #expect(typed == ["a", "q"])
    }

    @Test("a short list is sorted; a long one on a terminal comes as it is found, aligned")
    func streaming() throws {
        let terminal = Terminal(isInteractive: true, width: 100)
        var short = LeaseList(format: .table, terminal: terminal, order: nil)
        #expect(try short.add([Self.lease("b"), Self.lease("a")], after: .zero) == "")
        let keys = try short.end().split(separator: "\n").map { $0.prefix(1) }
        #expect(keys == ["K", "a", "b"])

        var long = LeaseList(format: .table, terminal: terminal, order: nil)
        let first = try long.add((0..<300).map { Self.lease("key-\($0)") }, after: .zero)
        #expect(first.split(separator: "\n").count == 301)
        let next = try long.add([Self.lease("key-300"), Self.lease("key-0")], after: .zero)
        #expect(next.split(separator: "\n").count == 1)
        let column = { (line: Substring) in
            line.firstRange(of: "pages").map { line.distance(from: line.startIndex, to: $0.lowerBound) }
        }
        #expect(column(next[...]) != nil)
        #expect(column(first.split(separator: "\n")[1]) == column(next[...]))
        #expect(try long.end() == "")
    }

    @Test("sorting waits for everything, NDJSON for nothing")
    func waiting() throws {
        var sorted = LeaseList(format: .ndjson, terminal: Terminal(), order: .key)
        #expect(try sorted.add([Self.lease("a")], after: .seconds(9)) == "")
        #expect(sorted.waitsForAll)
        var streamed = LeaseList(format: .ndjson, terminal: Terminal(), order: nil)
        #expect(try streamed.add([Self.lease("a")], after: .zero).contains(#""key":"a""#))
        #expect(try streamed.end() == "")
    }
}

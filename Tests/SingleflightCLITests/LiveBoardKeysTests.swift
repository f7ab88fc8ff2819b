import SingleflightRedis
import Testing

@testable import SingleflightCLI

@Suite("What keys do in the live views")
struct LiveBoardKeysTests {
    private static let size = TerminalScreen.Size(columns: 80, rows: 10)

    private static func lease(_ key: String, remaining: Duration = .seconds(3)) -> LeaseSummary {
        LeaseSummary(
            key: key,
            group: "pages",
            leader: "host-1:1234",
            token: key + "-token",
            age: .seconds(12),
            remaining: remaining,
            duration: .seconds(6)
        )
    }

    private static func board(_ keys: [String]) -> LeaseBoard {
        var board = LeaseBoard(title: "title", order: .key, showsActivity: false)
        board.add(keys.map { lease($0) })
        board.endPass()
        return board
    }

    private static func lines(_ board: LeaseBoard, _ terminal: Terminal = Terminal()) -> [String] {
        board.lines(size, for: terminal, at: .zero)
    }

    /// The key of the line that stands out.
    private static func marked(_ board: LeaseBoard) -> Substring? {
        lines(board).first { $0.hasPrefix("\u{1B}[7m") }?.dropFirst(4).prefix { $0 != " " }
    }

    private static func type(_ text: String, into board: inout LeaseBoard) {
        for character in text { _ = board.press(.character(character)) }
    }

    @Test("arrows choose a flight and scroll to it, and the last line says which rows are seen of how many")
    func scrolling() {
        var board = Self.board((100..<150).map { "\($0)" })
        #expect(Self.marked(board) == nil)
        #expect(Self.lines(board).last?.hasPrefix("1-6 of 50  ") == true)
        for (key, chosen) in [
            (TerminalKey.down, "100"), (.down, "101"), (.up, "100"), (.up, "100"), (.pageDown, "106"), (.end, "149"),
            (.down, "149"), (.pageUp, "143"), (.home, "100"),
        ] {
            #expect(board.press(key, page: 6) == .nothing)
            #expect(Self.marked(board) ?? "" == chosen)
        }
        _ = board.press(.end)
        #expect(Self.lines(board).last?.hasPrefix("45-50 of 50  ") == true)
    }

    @Test("what was chosen stays chosen where it moves, and where it ends what has its place is")
    func following() {
        var board = Self.board(["b", "c"])
        for _ in 0..<2 { _ = board.press(.down) }
        #expect(Self.marked(board) == "c")
        board.add(["a", "b", "c", "d"].map { Self.lease($0) })
        board.endPass()
        #expect(Self.marked(board) == "c")
        board.add(["a", "d"].map { Self.lease($0) })
        board.endPass()
        #expect(Self.marked(board) == "d")
    }

    @Test("a filter shows what has the text in its key, whatever its case, until Escape")
    func filtering() {
        var board = Self.board(["page-1", "日本", "user"])
        func keys() -> [Substring] { Self.lines(board)[3...].prefix { !$0.isEmpty }.map { $0.prefix { $0 != " " } } }
        Self.type("/AGE-", into: &board)
        #expect(keys() == ["page-1"])
        #expect(Self.lines(board).last?.hasPrefix("filter: AGE-_") == true)
        for _ in 0..<4 { _ = board.press(.backspace) }
        Self.type("本", into: &board)
        #expect(board.press(.enter) == .nothing)
        #expect(keys() == ["日本"])
        #expect(Self.lines(board).last?.hasPrefix("filter '本'") == true)
        // In the list a letter is a key again, and not part of the filter.
        #expect(board.press(.character("q")) == .quit)
        _ = board.press(.escape)
        #expect(keys() == ["page-1", "user", "日本"])
    }

    @Test("Enter opens a flight, and Escape closes it; news of another one is not shown in its place")
    func opening() {
        var board = Self.board(["a", "b"])
        _ = board.press(.end)
        #expect(board.press(.enter) == .open(Self.lease("b")))
        #expect(Self.lines(board).contains("looking…"))
        let detail = FlightDetail(key: "b", group: "pages", lease: Self.lease("b"), waiting: ["x"], outcomes: [])
        board.opened(Self.lease("a"), [detail])
        #expect(Self.lines(board).contains("looking…"))
        board.opened(Self.lease("b"), [detail])
        #expect(Self.lines(board).contains("token       b-token"))
        #expect(board.press(.escape) == .nothing)
        #expect(Self.marked(board) == "b")
    }

    @Test("a flight that was chosen is ended after a question, by y and by nothing else")
    func revoking() {
        var board = Self.board(["a", "b"])
        _ = board.press(.character("r"))
        #expect(Self.lines(board).contains("choose a flight first, with the arrows"))
        _ = board.press(.down)
        _ = board.press(.character("r"))
        let question = "End 'a' of group pages, led by host-1:1234, 0 processes waiting? y/N"
        #expect(Self.lines(board).last == question)
        #expect(board.press(.enter) == .nothing)
        #expect(Self.lines(board).contains("nothing was ended"))
        _ = board.press(.character("r"))
        #expect(board.press(.character("y")) == .revoke(Self.lease("a")))
    }

    @Test("a key that moves the cursor is shown as text, in the question and in the filter")
    func hostile() {
        var board = Self.board(["\u{1B}[2J\n"])
        _ = board.press(.down)
        _ = board.press(.character("r"))
        #expect(Self.lines(board).last?.contains(#"End $'\x1b[2J\n' of"#) == true)
        #expect(Self.lines(board).allSatisfy { !$0.contains("\u{1B}[2J") })
    }

    @Test("leases whose renewals do not come are counted and stand out")
    func endangered() {
        var board = LeaseBoard(title: "title", order: .key, showsActivity: false)
        board.add([Self.lease("a", remaining: .milliseconds(1_900)), Self.lease("b", remaining: .milliseconds(2_100))])
        board.endPass()
        #expect(Self.lines(board)[1] == "2 leases · 1 about to run out · 0 waiters")
        let colored = Self.lines(board, Terminal(isColored: true))
        #expect(colored.contains { $0.contains("\u{1B}[30;43m1.9 s") })
        #expect(!colored.contains { $0.contains("\u{1B}[30;43m2.1 s") })
    }

    @Test("the heading tells the server's time, and wraps where it does not fit")
    func heading() {
        var board = LeaseBoard(
            title: "singleflight top",
            "shop",
            "*",
            server: "redis://cache:6379",
            order: .key,
            showsActivity: true
        )
        board.endPass(at: .seconds(1_700_000_000))
        func lines(_ columns: Int, _ rows: Int) -> [String] {
            board.lines(.init(columns: columns, rows: rows), for: Terminal(), at: .zero)
        }
        #expect(lines(140, 10)[0].hasPrefix("singleflight top  redis://cache:6379  shop  *  server time "))
        #expect(lines(40, 24)[0] == "singleflight top  redis://cache:6379")
        #expect(lines(40, 24)[1].hasPrefix("shop  *  server time "))
        // Where there are few rows and columns, two lines are left for it.
        #expect(lines(40, 10)[0].hasPrefix("singleflight top  shop  *  "))
        #expect(lines(40, 10)[1] == "0 leases · 0 waiters · no events")
        #expect(lines(40, 10)[2].hasPrefix("KEY"))
    }

    @Test("what goes wrong is told per second, on a low screen only where something does")
    func trouble() {
        var board = LeaseBoard(title: "title", order: .key, showsActivity: true)
        board.endPass()
        board.record(.acquired, at: .zero)
        func text(_ rows: Int) -> String {
            board.lines(.init(columns: 80, rows: rows), for: Terminal(), at: .seconds(1)).joined(separator: "\n")
        }
        #expect(text(24).contains("0.0 failed/s · 0.0 canceled/s · 0.0 expired/s · 0.0 taken over/s"))
        #expect(!text(10).contains("failed"))
        for _ in 0..<3 { board.record(.failed(nil), at: .seconds(1)) }
        #expect(text(10).contains("3.0 failed/s") && !text(10).contains("canceled"))
    }
}

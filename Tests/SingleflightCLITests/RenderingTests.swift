import Testing

@testable import SingleflightCLI

@Suite("Rendering")
struct RenderingTests {
    @Test(
        "a duration is given in the unit people would choose",
        arguments: [
            (Duration.zero, "0 µs"), (.microseconds(85), "85 µs"), (.nanoseconds(999_600), "1.0 ms"),
            (.microseconds(1_350), "1.4 ms"), (.milliseconds(340), "340 ms"), (.microseconds(999_600), "1.0 s"),
            (.milliseconds(1_200), "1.2 s"), (.milliseconds(59_960), "1 min"), (.seconds(125), "2 min 5 s"),
            (.seconds(11_520), "3 h 12 min"), (.seconds(187_200), "2 d 4 h"), (.milliseconds(-340), "-340 ms"),
        ]
    )
    func duration(_ duration: Duration, _ text: String) {
        #expect(DurationText.describe(duration) == text)
    }

    @Test("a terminal without UTF-8 gets no µ")
    func asciiDuration() {
        #expect(DurationText.describe(.microseconds(85), ascii: true) == "85 us")
    }

    @Test(
        "text from elsewhere can neither move the cursor nor forge a line",
        arguments: [
            ("a\nb", "a\\nb"), ("\u{1B}[2J", "\\e[2J"), ("\u{9B}31m", "\\u{9b}31m"), ("a\u{202E}b", "a\\u{202e}b"),
            ("a\u{2028}b", "a\\u{2028}b"), ("\0", "\\u{0}"), ("größe 日本", "größe 日本"), ("👩‍👧", "👩‍👧"),
        ]
    )
    func escaping(_ text: String, _ escaped: String) {
        #expect(SafeText.escape(text) == escaped)
    }

    @Test("a terminal without UTF-8 gets escapes instead of rubbish")
    func asciiEscaping() {
        #expect(SafeText.escape("größe", ascii: true) == "gr\\u{f6}\\u{df}e")
    }

    @Test(
        "width is counted in terminal cells",
        arguments: [("abc", 3), ("日本", 4), ("e\u{301}", 1), ("👩‍👧", 2), ("", 0), ("µs", 2)]
    )
    func width(_ text: String, _ cells: Int) {
        #expect(SafeText.width(text) == cells)
    }

    @Test(
        "what does not fit is cut, and says so",
        arguments: [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abcde…"), ("日本語", 5, "日本…"), ("abc", 1, "…")]
    )
    func truncation(_ text: String, _ cells: Int, _ cut: String) {
        #expect(SafeText.truncate(text, to: cells) == cut)
    }

    @Test("a table aligns its columns and leaves no blanks at the ends of lines")
    func table() {
        var table = Table([.init("KEY"), .init("AGE", .right), .init("NOTE")])
        table.append(["日本", "1 s", "x"])
        table.append(["abcdef", "10 s", ""])
        #expect(
            table.render(for: Terminal()) == """
                KEY      AGE  NOTE
                日本     1 s  x
                abcdef  10 s

                """
        )
    }

    @Test("a table that is too wide cuts its flexible columns only")
    func narrowTable() {
        var table = Table([.init("KEY", isFlexible: true), .init("TOKEN")])
        table.append([.init(String(repeating: "k", count: 40)), "0123456789"])
        let lines = table.render(for: Terminal(width: 30)).split(separator: "\n")
        #expect(lines.map { SafeText.width(String($0)) } == [25, 30])
        #expect(lines[1].hasSuffix("…  0123456789"))
    }

    @Test("a table prints a key that holds an escape sequence as text")
    func hostileKey() {
        var table = Table([.init("KEY")])
        table.append(["\u{1B}[31mred\n"])
        #expect(table.render(for: Terminal(isColored: true)).contains("\\e[31mred\\n"))
    }

    @Test("an empty list is [] in JSON and nothing in NDJSON")
    func emptyList() throws {
        #expect(try LeaseRendering.list([], as: .json, for: Terminal()) == "[]\n")
        #expect(try LeaseRendering.list([], as: .ndjson, for: Terminal()) == "")
    }

    @Test("NDJSON has one object a line, its keys in order")
    func ndjson() throws {
        let lines = try JSONText.lines([["b": 1, "a": 2], ["c": 3]])
        #expect(lines == "{\"a\":2,\"b\":1}\n{\"c\":3}\n")
    }

    @Test("an expired lease is marked in the table and in JSON")
    func expiredLease() throws {
        let lease = LeaseSummary(
            key: "k",
            group: "g",
            leader: "host-1",
            token: "0123456789abcdef",
            age: .seconds(12),
            remaining: .zero
        )
        #expect(try LeaseRendering.list([lease], as: .table, for: Terminal()).contains("expired"))
        #expect(try LeaseRendering.list([lease], as: .json, for: Terminal()).contains("\"expired\" : true"))
        let detail = FlightDetail(key: "k", group: "g", lease: lease, waiting: [], outcomes: [])
        let card = try FlightRendering.text([detail], as: .table, for: Terminal())
        #expect(card.contains("token       0123456789abcdef"))
    }

    @Test("show tells in which trace a lease's leader is, if it is in one")
    func trace() throws {
        var lease = LeaseSummary(
            key: "k",
            group: "g",
            leader: "host-1",
            token: "t",
            age: .zero,
            remaining: .seconds(1)
        )
        func card() throws -> String {
            let detail = FlightDetail(key: "k", group: "g", lease: lease, waiting: [], outcomes: [])
            return try FlightRendering.text([detail], as: .table, for: Terminal())
        }
        #expect(try !card().contains("trace"))
        lease.trace = ["traceparent": "00-0af7-b7ad-01"]
        #expect(try card().contains("trace       traceparent 00-0af7-b7ad-01\n"))
        #expect(try LeaseRendering.list([lease], as: .json, for: Terminal()).contains("\"traceparent\" : \"00-"))
    }

    @Test("leases are sorted as asked, and by key among equals")
    func sorting() {
        let leases = [("b", 2), ("c", 5), ("a", 2)].map { key, waiters in
            LeaseSummary(
                key: key,
                group: "g",
                leader: "l",
                token: "t",
                age: .zero,
                remaining: .seconds(1),
                waiters: waiters
            )
        }
        #expect(LeaseOrder.key.sorted(leases).map(\.key) == ["a", "b", "c"])
        #expect(LeaseOrder.waiters.sorted(leases).map(\.key) == ["c", "a", "b"])
    }

    @Test("color is off where nobody looks, and on where it is insisted on", arguments: [ColorChoice.auto, .never])
    func noColor(_ choice: ColorChoice) {
        #expect(!Terminal(descriptor: -1, color: choice, environment: [:]).isColored)
        #expect(Terminal(descriptor: -1, color: .always, environment: ["NO_COLOR": "1"]).isColored)
    }
}

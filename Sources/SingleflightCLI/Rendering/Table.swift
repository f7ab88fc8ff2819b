/// Columns of text that fit the terminal.
package struct Table: Sendable {
    package enum Alignment: Sendable { case left, right }

    package struct Column: Sendable {
        let title: String
        let alignment: Alignment
        /// A column that may be cut when the line is too long for the terminal.
        let isFlexible: Bool

        package init(_ title: String, _ alignment: Alignment = .left, isFlexible: Bool = false) {
            self.title = title
            self.alignment = alignment
            self.isFlexible = isFlexible
        }
    }

    package struct Cell: ExpressibleByStringInterpolation, Sendable {
        let text: String
        let style: TextStyle?

        package init(_ text: String, _ style: TextStyle? = nil) {
            self.text = text
            self.style = style
        }

        package init(stringLiteral value: String) { self.init(value) }
    }

    private static let gap = 2
    private static let narrowest = 8

    private let columns: [Column]
    private var rows: [[Cell]] = []
    /// The columns' widths, where they no longer depend on the rows.
    private var fixedWidths: [Int]?

    package init(_ columns: [Column]) { self.columns = columns }

    /// Adds a row; cells beyond the columns are left out, missing ones are empty.
    package mutating func append(_ row: [Cell]) { rows.append(row) }

    /// One line for the titles and one a row, each ended by a newline. Cells are made safe to print here.
    package func render(for terminal: Terminal) -> String {
        let widths = widths(for: terminal)
        return line(columns.map(\.title), widths, terminal) { _ in .bold } + "\n" + lines(of: rows, widths, terminal)
    }

    /// The same table without its rows, and with the columns as wide as they are with them.
    package func fixed(for terminal: Terminal) -> Table {
        var table = Table(columns)
        table.fixedWidths = widths(for: terminal)
        return table
    }

    /// One line for each of the rows, without titles, cut to the columns' widths.
    package func lines(of rows: [[Cell]], for terminal: Terminal) -> String {
        lines(of: rows, widths(for: terminal), terminal)
    }

    private func lines(of rows: [[Cell]], _ widths: [Int], _ terminal: Terminal) -> String {
        rows.map { row in
            line(texts(of: row, terminal), widths, terminal) { $0 < row.count ? row[$0].style : nil } + "\n"
        }.joined()
    }

    private func texts(of row: [Cell], _ terminal: Terminal) -> [String] {
        columns.indices.map { $0 < row.count ? terminal.safe(row[$0].text) : "" }
    }

    private func widths(for terminal: Terminal) -> [Int] {
        fixedWidths ?? fit(rows.map { texts(of: $0, terminal) }, into: terminal.width)
    }

    private func fit(_ texts: [[String]], into limit: Int?) -> [Int] {
        var widths = columns.indices.map { column in
            texts.reduce(SafeText.width(columns[column].title)) { max($0, SafeText.width($1[column])) }
        }
        guard let limit else { return widths }
        var excess = widths.reduce(0, +) + Self.gap * (columns.count - 1) - limit
        // Taking from the widest first keeps short columns whole. Where that is not enough, no column is left alone:
        // a line that wraps is read by nobody.
        let flexible = columns.indices.filter { columns[$0].isFlexible }
        for (candidates, narrowest) in [(flexible, Self.narrowest), (Array(columns.indices), 1)] {
            while excess > 0, let widest = Self.widest(candidates, of: widths, over: narrowest) {
                widths[widest] -= 1
                excess -= 1
            }
        }
        return widths
    }

    private static func widest(_ candidates: [Int], of widths: [Int], over narrowest: Int) -> Int? {
        candidates.filter { widths[$0] > narrowest }.max { widths[$0] < widths[$1] }
    }

    private func line(
        _ texts: [String],
        _ widths: [Int],
        _ terminal: Terminal,
        style: (Int) -> TextStyle?
    ) -> String {
        // No line ends in blanks: it stops at its last text, and a left-aligned one needs no padding there.
        guard let last = columns.indices.last(where: { !texts[$0].isEmpty }) else { return "" }
        let cells = columns[...last].indices.map { column in
            // Where lines may be as long as they are, a cell that is wider than its column is not cut but pushes the
            // rest.
            let text =
                terminal.width == nil
                ? texts[column] : SafeText.truncate(texts[column], to: widths[column], ascii: terminal.isASCII)
            let padding = String(repeating: " ", count: max(0, widths[column] - SafeText.width(text)))
            let styled = terminal.styled(text, style(column))
            switch columns[column].alignment {
            case .right: return padding + styled
            case .left: return column == last ? styled : styled + padding
            }
        }
        return cells.joined(separator: String(repeating: " ", count: Self.gap))
    }
}

/// How a cell's callers came to know, and what was wrong with that.
package struct CellReport: Sendable {
    package var cell: String
    package var leader = Ending.hanging
    package var follower = Ending.hanging
    /// Of further calls, in their order.
    package var others: [Ending] = []
    /// How long the slower of the two had to wait, once the trouble and the operation were over.
    package var waited = Duration.zero
    /// Whether the fault struck.
    package var struck = false
    /// Requests in the cell's history.
    package var requests = 0
    package var operations = 0
    /// What must not be; empty in a good cell.
    package var problems: [String] = []

    /// The command that plays the cell again.
    package var replay: String { "make matrix CELLS=\(self.cell)" }

    /// All endings, the leader's first.
    package var endings: String { ([self.leader, self.follower] + self.others).map(\.rawValue).joined() }
}

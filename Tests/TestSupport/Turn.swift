import Foundation
public import Testing

/// Lets few tests of a kind run at a time.
///
/// Hundreds of servers that start at once leave a small machine no time for any of them. A test takes its turn before
/// its time limit begins to run, and keeps it to its end, with all of its cases.
public struct Turn: SuiteTrait, TestTrait, TestScoping {
    /// Beside whom a test runs.
    enum Company {
        /// A few others of its kind.
        case few
        /// No other test that takes turns.
        case none
    }

    /// Four for each processor: most of their time these tests wait for a server, or for a lease to end.
    private static let slots = TurnSlots(4 * ProcessInfo.processInfo.activeProcessorCount)
    /// A suite and a suite in it may both ask for a turn: a test takes one.
    @TaskLocal private static var isTaken = false

    let company: Company

    /// The tests of a suite take turns one by one.
    public var isRecursive: Bool { true }

    /// Tests, one by one, and then their cases.
    public func scopeProvider(for test: Test, testCase: Test.Case?) -> Self? {
        test.isSuite ? nil : self
    }

    /// Waits for the test's turn, and runs it. Its cases, whose time limits run already, need not wait.
    public func provideScope(
        for test: Test,
        testCase: Test.Case?,
        performing function: @Sendable @concurrent () async throws -> Void
    ) async throws {
        if testCase != nil {
            TurnJournal.shared?.note("begins", test)
        }
        guard !Self.isTaken else { return try await function() }
        TurnJournal.shared?.note("waits", test)
        try await Self.slots.withSlot(self.company) {
            try await Self.$isTaken.withValue(true, operation: function)
        }
    }
}

extension Trait where Self == Turn {
    /// For tests with a server or child processes of their own: at most four for each processor run at a time.
    public static var usesServer: Self { Turn(company: .few) }

    /// For tests that keep every processor busy by themselves, beside which times would run out in others: one at a
    /// time, and none with a server beside it.
    public static var keepsBusy: Self { Turn(company: .none) }
}

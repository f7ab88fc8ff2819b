import SingleflightCLI
import Testing

@testable import Soak

/// The soak's account must be able to find what it looks for.
@Suite("The account of a soak")
struct LedgerTests {
    private func record(
        _ run: String,
        _ token: String?,
        _ milliseconds: Range<Int64>,
        key: Int = 1,
        isCurrent: Bool = true,
        lastToken: String? = nil,
        fence: UInt64? = nil
    ) -> OperationRecord {
        OperationRecord(
            key: key,
            run: run,
            token: token,
            lastToken: lastToken ?? token,
            start: time(milliseconds.lowerBound),
            end: time(milliseconds.upperBound),
            isCurrent: isCurrent,
            fence: fence
        )
    }

    private func time(_ milliseconds: Int64) -> MonotonicTime { MonotonicTime(nanoseconds: milliseconds * 1_000_000) }

    private func ledger(_ records: OperationRecord...) -> OperationLedger {
        var ledger = OperationLedger()
        for record in records { ledger.add(record) }
        return ledger
    }

    @Test("operations one after the other, or of different keys, are in order")
    func order() {
        let ledger = ledger(
            record("a", "1", 0..<10, fence: 5),
            record("b", "2", 10..<20, fence: 6),
            record("c", "3", 5..<15, key: 2)
        )
        #expect(ledger.violations.isEmpty && ledger.overlaps.isEmpty)
        #expect(ledger.operations == 3)
    }

    @Test("two operations that led at the same time break a promise, whichever is told first")
    func twoLeaders() {
        #expect(ledger(record("a", "1", 0..<10), record("b", "2", 9..<20)).violations.count == 1)
        #expect(ledger(record("b", "2", 9..<20), record("a", "1", 0..<10)).violations.count == 1)
    }

    @Test("an operation whose lease was lost, or that had none, is counted with what came before it")
    func causes() {
        var lost = OperationLedger()
        lost.add(Trouble(kind: "a worker paused", start: time(4)))
        lost.add(record("a", "1", 0..<10, isCurrent: false))
        lost.add(record("b", "2", 9..<20))
        #expect(lost.violations.isEmpty)
        #expect(lost.overlaps.keys.first?.hasSuffix("after a worker paused") == true)

        let unleased = ledger(record("a", nil, 0..<10), record("b", "2", 9..<20))
        #expect(unleased.violations.isEmpty)
        #expect(unleased.overlaps.keys.first?.hasSuffix("no trouble before") == true)
    }

    @Test("a trouble that lasts is the cause of what happens until its end, and for a moment after it")
    func lastingCauses() {
        var ledger = OperationLedger()
        ledger.add(Trouble(kind: "the server away", start: time(0), end: nil))
        ledger.add(Trouble(kind: "a worker killed", start: time(10)))
        #expect(ledger.cause(of: time(20)) == "after a worker killed")
        #expect(ledger.cause(of: time(60_000)) == "after the server away")
        ledger.forget(before: time(60_000))
        ledger.end("the server away", at: time(60_000))
        #expect(ledger.cause(of: time(61_000)) == "after the server away")
        #expect(ledger.cause(of: time(61_001)) == "no trouble before")
    }

    @Test("an operation that went on under another lease is counted, and both leases are its own")
    func anotherLease() {
        let led = record("a", "1", 0..<100, lastToken: "3")
        #expect(ledger(led, record("b", "2", 50..<60)).violations.isEmpty)
        #expect(ledger(led, record("b", "2", 50..<60)).overlaps.count == 1)
        #expect(ledger(led, record("c", "3", 200..<210)).violations.count == 1)
    }

    @Test("a leader may not know that the server lost its lease, as long as it may believe in it and no longer")
    func lostLeases() {
        func violations(first: Range<Int64>, second: Range<Int64>, loss: ClosedRange<Int64>) -> Int {
            var ledger = OperationLedger()
            ledger.add(loss: time(loss.lowerBound)...time(loss.upperBound))
            ledger.add(record("a", "1", first))
            ledger.add(record("b", "2", second))
            return ledger.violations.count
        }
        let reach = Int64(OperationLedger.lossReach / .milliseconds(1))
        #expect(violations(first: 0..<150, second: 110..<160, loss: 100...105) == 0)
        #expect(violations(first: 0..<(105 + reach), second: 110..<160, loss: 100...105) == 0)
        #expect(violations(first: 0..<(106 + reach), second: 110..<160, loss: 100...105) == 1)
        // Begun after the loss, or both before it.
        #expect(violations(first: 170..<200, second: 180..<190, loss: 100...105) == 1)
        #expect(violations(first: 0..<150, second: 90..<160, loss: 100...105) == 1)
    }

    @Test("fences begin anew where the server lost them, and nowhere else")
    func fencesAfterLoss() {
        var ledger = OperationLedger()
        ledger.add(loss: time(40)...time(50))
        ledger.add(record("a", "1", 0..<10, fence: 6))
        ledger.add(record("b", "2", 60..<70, fence: 1))
        #expect(ledger.violations.isEmpty && ledger.fencesBegunAnew == 1)
        ledger.add(record("c", "3", 80..<90, fence: 1))
        #expect(ledger.violations.count == 1)
    }

    @Test("a second operation under one lease, and a second result, break a promise")
    func oneLease() {
        #expect(ledger(record("a", "1", 0..<10), record("b", "1", 20..<30)).violations.count == 1)
        var results = ledger(record("a", "1", 0..<10))
        results.add(ResultRecord(token: "1", run: "a"), at: time(11))
        #expect(results.violations.isEmpty)
        results.add(ResultRecord(token: "1", run: "b"), at: time(12))
        #expect(results.violations.count == 1)
    }

    @Test("fences that do not grow from lease to lease break a promise")
    func fences() {
        #expect(ledger(record("a", "1", 0..<10, fence: 6), record("b", "2", 10..<20, fence: 6)).violations.count == 1)
        #expect(ledger(record("a", "1", 0..<10, fence: 7), record("b", "2", 10..<20, fence: 8)).violations.isEmpty)
    }

    @Test("what is old is forgotten, what is not is kept")
    func forgetting() {
        var ledger = ledger(record("a", "1", 0..<10))
        ledger.forget(before: time(20_000))
        ledger.add(record("b", "2", 5..<15))
        #expect(ledger.violations.count == 1)
        ledger.forget(before: time(60_000))
        ledger.add(record("c", "3", 5..<15))
        #expect(ledger.violations.count == 1)
    }

    @Test("noise is flat, growth is not, and too little says nothing")
    func trends() {
        let noise = (0..<300).map { 100 + Double($0 * 7919 % 13) }
        #expect(Trend.memory.judge(noise)?.isFlat == true)
        #expect(Trend.memory.judge((0..<300).map { 100 + Double($0) / 10 })?.isFlat == false)
        #expect(Trend.descriptors.judge((0..<300).map { Double(20 + $0 / 60) })?.isFlat == false)
        #expect(Trend.descriptors.judge((0..<300).map { Double(20 + $0 % 2) })?.isFlat == true)
        #expect(Trend.memory.judge([1, 2, 3]) == nil)
    }
}

import Testing

@testable import SingleflightCLI

@Suite("The demo's figures")
struct DemoFiguresTests {
    @Test(
        "a percentile is the sample that so many do not exceed",
        arguments: [(0, 1), (1, 1), (50, 50), (51, 51), (99, 99), (100, 100)] as [(Int, Int64)]
    )
    func percentiles(_ percent: Int, _ expected: Int64) {
        #expect(Samples((1...100).shuffled()).percentile(percent) == expected)
    }

    @Test("one sample is every percentile, and without samples there is none")
    func fewSamples() {
        #expect(Samples([7]).percentile(99) == 7)
        #expect(Samples().percentile(50) == nil)
    }

    @Test("a caller's value counts as right only if it is that of its key")
    func wrongValues() {
        var report = BatchReport(batch: 1, end: MonotonicTime(nanoseconds: 0))
        let value = DemoValue(key: "a", hit: 1, process: 10, ready: MonotonicTime(nanoseconds: 100))
        let time = MonotonicTime(nanoseconds: 350)
        report.add(Answer(key: "a", outcome: .value(value), time: time), ownProcess: 20)
        report.add(Answer(key: "b", outcome: .value(value), time: time), ownProcess: 20)
        #expect(report.valueCount == 1)
        #expect(report.wrong == 1)
        #expect(report.wakeUps == [250])
    }

    @Test("only callers in another process than the leader's are woken up from afar")
    func ownWakeUps() {
        var report = BatchReport(batch: 1, end: MonotonicTime(nanoseconds: 0))
        let value = DemoValue(key: "a", hit: 1, process: 10, ready: MonotonicTime(nanoseconds: 100))
        report.add(Answer(key: "a", outcome: .value(value), time: .now), ownProcess: 10)
        #expect(report.wakeUps.isEmpty)
    }

    @Test("a ledger is done when every worker but the excepted ones has reported")
    func ledger() {
        var ledger = BatchLedger(workers: [0, 1], start: .now)
        ledger.add(.done(BatchReport(batch: 1, values: [1: 5], failures: ["x": 2], end: .now)), from: 1)
        #expect(!ledger.isDone())
        #expect(ledger.isDone(except: [0]))
        #expect(ledger.total().calls == 7)
        #expect(ledger.total(of: [0]).calls == 0)
    }

    @Test("a flight is under way when all callers wait and every key has a leader")
    func inFlight() {
        var ledger = BatchLedger(workers: [0, 1], start: .now)
        ledger.add(.leading(batch: 1, key: "a"), from: 0)
        ledger.add(.calling(batch: 1), from: 0)
        #expect(!ledger.isInFlight(keys: 1))
        ledger.add(.calling(batch: 1), from: 1)
        #expect(ledger.isInFlight(keys: 1))
        #expect(!ledger.isInFlight(keys: 2))
    }

    @Test("a scene that went wrong fails the demo, one that was not run does not")
    func verdict() {
        func report(_ verdict: Verdict) -> DemoReport {
            let scene = SceneReport(number: 1, title: "t", verdict: verdict, checks: [], milliseconds: 1)
            return DemoReport(scenes: [scene], herd: nil)
        }
        #expect(report(.ok).passed)
        #expect(report(.notRun).passed)
        #expect(!report(.failed).passed)
    }

    @Test("the report shows what was expected and what was seen instead")
    func rendering() throws {
        let checks = [Check("origin hits", expected: 20, seen: 21), Check("wrong", expected: 0, seen: 0)]
        let scene = SceneReport(number: 1, title: "herd", verdict: .failed, checks: checks, milliseconds: 1_200)
        let text = try DemoRendering.text(DemoReport(scenes: [scene], herd: nil), as: .table, for: Terminal())
        #expect(
            text == """
                SCENE           EXPECTED  SEEN  VERDICT
                1  herd                         FAILED
                   origin hits        20    21  FAILED
                   wrong               0     0  ok

                """
        )
        #expect(DemoRendering.line(scene) == "FAILED after 1.2 s: origin hits: 21 instead of 20")
    }
}

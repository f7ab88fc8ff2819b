/// Scene 1: many callers in many processes want the same few keys at the same moment.
final class HerdScene: DemoScene {
    let title = "a herd on hot keys"

    /// What the herd measured, once it has been played.
    private(set) var figures: HerdFigures?

    func play(on stage: DemoStage) async throws -> [Check] {
        let configuration = stage.configuration
        var (total, hits, wakeUps) = (BatchReport(batch: 0, end: .now), 0, Samples())
        for round in 1...configuration.rounds {
            let prefix = "herd-\(round)/"
            try await stage.origin.hold(prefix)
            let batch = stage.call((1...configuration.keys).map { "\(prefix)\($0)" }, callers: configuration.callers)
            try await stage.wait(for: batch, "the herd of round \(round) to gather") {
                $0.isInFlight(keys: configuration.keys)
            }
            try await stage.origin.release(prefix)
            let ledger = try await stage.wait(for: batch, "every caller of round \(round) to have its value") {
                $0.isDone()
            }
            total.add(ledger.total())
            hits += try await stage.hits(on: prefix)
        }
        wakeUps.append(contentsOf: total.wakeUps)
        let calls = configuration.workers * configuration.callers * configuration.rounds
        figures = HerdFigures(calls: calls, originHits: hits, wakeUps: wakeUps)
        return [
            Check("origin hits", expected: configuration.keys * configuration.rounds, seen: hits),
            Check("callers with the right value", expected: calls, seen: total.valueCount),
            Check("callers with a wrong value", expected: 0, seen: total.wrong),
            Check("callers left hanging", expected: 0, seen: calls - total.calls),
        ]
    }
}

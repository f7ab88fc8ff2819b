import Foundation
import Synchronization

/// Makes the calls of a worker and counts what its callers get.
struct Worker: Sendable {
    let group: any DemoGroup
    let origin: OriginClient
    let report: @Sendable (WorkerEvent) -> Void

    /// Returns when every caller has its outcome, which has then been reported.
    func perform(_ batch: CallBatch) async {
        let wait = MonotonicTime.now.duration(to: batch.start)
        // Cancellation only makes the callers start, and be canceled, earlier.
        if wait > .zero { try? await Task.sleep(for: wait) }
        let countdown = Countdown(batch.callers) { report(.calling(batch: batch.id)) }
        var tally = BatchReport(batch: batch.id, end: .now)
        if batch.counts {
            await withTaskGroup(of: Count.self) { callers in
                for index in 0..<batch.callers {
                    callers.addTask { await watch(batch.keys[index % batch.keys.count], batch, countdown) }
                }
                for await count in callers { tally.add(count) }
            }
            return report(.done(tally))
        }
        await withTaskGroup(of: Answer.self) { callers in
            for index in 0..<batch.callers {
                let key = batch.keys[index % batch.keys.count]
                callers.addTask { await call(key, batch, countdown) }
            }
            for await answer in callers { tally.add(answer, ownProcess: getpid()) }
        }
        report(.done(tally))
    }

    private func call(_ key: String, _ batch: CallBatch, _ countdown: Countdown) async -> Answer {
        countdown.step()
        let outcome = await group.run(key, policy: batch.policy) { flight in
            report(.leading(batch: batch.id, key: key))
            // Reported on every way out: also the operation that is canceled is told that it no longer leads.
            defer { report(.led(batch: batch.id, key: key, isCurrent: flight.isCurrent())) }
            let hit = try await origin.get(key)
            return DemoValue(key: key, hit: hit, process: getpid(), ready: .now)
        }
        return Answer(key: key, outcome: outcome, time: .now)
    }

    /// Watches a leader count to a hundred; after the half it asks the origin whether it may go on.
    private func watch(_ key: String, _ batch: CallBatch, _ countdown: Countdown) async -> Count {
        countdown.step()
        var count = Count()
        do {
            try await group.count(key, policy: batch.policy) { tell in
                report(.leading(batch: batch.id, key: key))
                for number in 1...Count.half { try await tell(number) }
                _ = try await origin.get(key)
                for number in Count.half + 1...Count.all { try await tell(number) }
            } watch: { event in
                switch event {
                case .restarted:
                    count.restarts += 1
                    count.numbers = []
                case .number(let number):
                    count.numbers.append(number)
                    if number == Count.half { report(.halfway(batch: batch.id)) }
                }
            }
        } catch {
            count.failure = "\(error)"
        }
        count.end = .now
        return count
    }
}

/// What one caller saw of a leader that counts.
struct Count: Sendable {
    static let half = 50
    static let all = 100

    var numbers: [Int] = []
    var restarts = 0
    var failure: String?
    var end = MonotonicTime.now

    /// Whether it saw each number once, in order, and then the end.
    var isWhole: Bool { self.failure == nil && self.numbers == Array(1...Count.all) }
}

/// What one caller got, and when.
struct Answer: Sendable {
    let key: String
    let outcome: DemoOutcome
    let time: MonotonicTime
}

extension BatchReport {
    mutating func add(_ answer: Answer, ownProcess: Int32) {
        end = max(end, answer.time)
        switch answer.outcome {
        case .value(let value) where value.key != answer.key: wrong += 1
        case .value(let value):
            values[value.hit, default: 0] += 1
            if value.process != ownProcess {
                wakeUps.append(answer.time.nanoseconds - value.ready.nanoseconds)
            }
        case .failure(let message): failures[message, default: 0] += 1
        case .canceled(let reason): canceled[reason, default: 0] += 1
        }
    }
}

extension BatchReport {
    mutating func add(_ count: Count) {
        end = max(end, count.end)
        restarts += count.restarts
        if count.isWhole {
            values[1, default: 0] += 1
        } else if let failure = count.failure {
            failures[failure, default: 0] += 1
        } else {
            wrong += 1
        }
    }
}

/// Acts once, at the last of a number of steps.
private final class Countdown: Sendable {
    private let left: Atomic<Int>
    private let action: @Sendable () -> Void

    init(_ count: Int, action: @escaping @Sendable () -> Void) {
        left = Atomic(count)
        self.action = action
    }

    func step() {
        if left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { action() }
    }
}

package import ArgumentParser
import Foundation
import Singleflight
import SingleflightLease
import SingleflightTestKit

/// Storms of cancellation: on a local group for all of the callers; on distributed groups of four processes, with the
/// in-memory store, for a tenth. `make storm` runs it.
package struct StormCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "storm",
        abstract: "Cancel callers at random, and see each resumed exactly once."
    )

    @Argument(help: "How many callers are to be resumed.")
    var resumes: Int

    @Argument(help: "The first storm's seed.")
    var seed: UInt64

    package init() {}

    package func validate() throws {
        guard resumes > 0 else { throw ValidationError("there must be somebody to resume") }
    }

    package func run() async throws {
        for policy in [CancellationPolicy.whenAbandoned, .never, .withLeader] {
            await Self.play("a local group, \(policy)", resumes / 3, seed) { try Self.local(policy) }
        }
        await Self.play("distributed groups of four processes", resumes / 10, seed) { try Self.distributed() }
    }

    private static func local(_ policy: CancellationPolicy) throws -> Storm {
        let group = Group<Int, Int>(.init(cancellation: policy))
        return Storm { key, _, operation in
            switch await group.run(key, operation: operation) {
            case .complete(let completion):
                switch completion.result {
                case .success(let value): .value(value)
                case .failure(let error): .other("\(error)")
                }
            case .canceled(.callerCanceled): .callerCanceled
            case .canceled(let reason): .other("\(reason)")
            }
        } remains: {
            group.inFlight == 0 ? nil : "\(group.inFlight) flights"
        }
    }

    private static func distributed() throws -> Storm {
        let server = InMemoryLeaseServer(clock: ManualLeaseClock())
        let stores = (0..<4).map { InMemoryLeaseStore(server: server, label: "process \($0)") }
        let groups = try stores.map { try DistributedGroup<Int, Int>("storm", store: $0) }
        return Storm { key, caller, operation in
            switch await groups[caller / Storm.keys % 4].run(key, operation: { _ in try await operation() }) {
            case .complete(let completion):
                switch completion.result {
                case .success(let value): .value(value)
                case .failure(let error): .other("\(error)")
                }
            case .canceled(.callerCanceled): .callerCanceled
            case .canceled(let reason): .other("\(reason)")
            }
        } remains: {
            for store in stores { await store.untilIdle() }
            let left = groups.reduce(0) { $0 + $1.inFlight }
            return left == 0 ? nil : "\(left) flights"
        }
    }

    /// Storm after storm, until the given number of callers has come back.
    private static func play(_ name: String, _ resumes: Int, _ seed: UInt64, _ make: @Sendable () throws -> Storm) async
    {
        let clock = ContinuousClock()
        let start = clock.now
        var nextProgress = start.advanced(by: .seconds(5))
        var tally = StormTally()
        var storm = seed
        let progress = Counter()
        // A caller that is never resumed stops everything: then this ends it.
        let watch = Task {
            var last = -1
            while progress.value != last {
                last = progress.value
                try await Task.sleep(for: .seconds(120))
            }
            self.say("\(name): nothing has moved for two minutes in the storm of seed \(seed &+ UInt64(last))")
            Foundation.exit(EXIT_FAILURE)
        }
        defer { watch.cancel() }
        while tally.callers < resumes {
            do {
                try await make().run(seed: storm, into: &tally)
            } catch {
                self.say("\(name), seed \(storm): \(error)")
                self.say("replay it with: make storm RESUMES=1 SEED=\(storm)")
                Foundation.exit(EXIT_FAILURE)
            }
            storm &+= 1
            progress.increment()
            if clock.now >= nextProgress {
                nextProgress = clock.now.advanced(by: .seconds(5))
                self.say("\(name): \(tally.callers) of \(resumes)")
            }
        }
        let seconds = max((clock.now - start) / .seconds(1), 0.001)
        self.say(
            "\(name): \(tally.callers) callers, each resumed exactly once, in \(Int(seconds)) s "
                + "(\(Int(Double(tally.callers) / seconds)) a second), seeds \(seed) to \(storm &- 1): \(tally.values) values, "
                + "\(tally.canceled) canceled, \(tally.operations) operations"
        )
    }

    /// Unbuffered, so that progress shows in a pipe, too.
    private static func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }
}

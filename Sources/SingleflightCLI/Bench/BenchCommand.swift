import ArgumentParser
import Foundation
import PrivateRedis

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure a load of one's own on this machine.",
        discussion: HelpText.flowing(
            """
            Starts a private Redis and worker processes that ask for the same keys as fast as they are answered, and says
            how many calls and flights there were, what they cost Redis, and how long results took to other processes.

            Examples:
              singleflight bench
              singleflight bench --processes 4 --callers 256 --keys 1000 --zipf 1.1 --payload 1024
              singleflight bench --redis redis://127.0.0.1:6379 --duration 60 --output json
            """
        )
    )

    enum Format: String, CaseIterable, ExpressibleByArgument {
        case table, json
    }

    @Option(help: "Worker processes.")
    var processes = 2

    @Option(help: "Callers in each process.")
    var callers = 64

    @Option(help: "Keys that they ask for.")
    var keys = 100

    @Option(help: "Skew of the key distribution (Zipf exponent): 0 is uniform.")
    var zipf = 1.0

    @Option(help: "Seconds to measure.")
    var duration = 5.0

    @Option(help: "Bytes of a result.")
    var payload = 100

    @Option(help: "Milliseconds that an operation takes.")
    var work = 1

    @Option(help: ArgumentHelp("Your own Redis instead of a private one.", valueName: "url"))
    var redis: String?

    @Option(help: "table or json.")
    var output = Format.table

    func validate() throws {
        try check("processes", processes, 1...64)
        try check("callers", callers, 1...100_000)
        try check("keys", keys, 1...1_000_000)
        try check("payload", payload, 8...8_000_000)
        try check("work", work, 0...60_000)
        guard (0...10).contains(zipf) else { throw ValidationError("--zipf is 0 to 10, not \(zipf)") }
        guard (0.1...3600).contains(duration) else {
            throw ValidationError("--duration is 0.1 to 3600, not \(duration)")
        }
        if let redis { try ConnectionOptions.check(url: redis, of: "--redis") }
    }

    private func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
        guard range.contains(value) else {
            throw ValidationError("--\(name) is \(range.lowerBound) to \(range.upperBound), not \(value)")
        }
    }

    func run() async throws {
        #if DEBUG
            ErrorLine.note("this is a debug build; its figures mean nothing")
        #endif
        let terminal = Terminal(
            descriptor: StandardStream.output.descriptor,
            color: .never,
            environment: ProcessInfo.processInfo.environment
        )
        try await TerminationSignals.cancelling { [self] in
            try await BenchRedis.with(redis) { redis in
                let load = Load(
                    callers: callers,
                    keys: keys,
                    skew: zipf,
                    seconds: duration,
                    payload: payload,
                    work: .milliseconds(work)
                )
                let report = try await LoadBench(processes: processes, load: load, redis: redis).run()
                try StandardStream.output.write(
                    output == .json ? JSONText.document(report) : LoadRendering.summary(report, for: terminal)
                )
            }
        }
    }
}

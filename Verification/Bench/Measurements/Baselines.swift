import Foundation
import HiredisClient
import SingleflightCLI
import SingleflightRedis

/// What others reach at the same work in the same run: C on hiredis (Benchmarks/Baselines) and redis-benchmark.
struct Baselines: Sendable {
    struct Throughput: Codable, Sendable {
        let perSecond: Double
        /// Processor time of one, in nanoseconds.
        let cpu: Double
    }

    struct Latency: Codable, Sendable {
        let p50: Double
        let p99: Double
    }

    /// Where `make bench` has put the programs.
    let directory: String
    let socketPath: String

    func evaluateOneByOne(commands: Int) async throws -> Latency { try await run("sync", "\(commands)") }

    func evaluate(commands: Int, inFlight: Int) async throws -> Throughput {
        try await run("async", "\(commands)", "\(inFlight)")
    }

    func flights(_ flights: Int, inFlight: Int, complete: String) async throws -> Throughput {
        try await run("flights", "\(flights)", "\(inFlight)", complete)
    }

    func wakeUp(rounds: Int, followers: Int, enter: String, complete: String) async throws -> Latency {
        try await run("wakeup", "\(rounds)", "\(followers)", enter, complete)
    }

    /// Flights per second that the two commands of one allow, each sent by redis-benchmark 64 deep.
    func pipelinedFlights(_ count: Int, complete: String) async throws -> Double {
        let key = "sf2:{b:1}:lease:b:__rand_int__"
        let token = String(repeating: "0", count: 32)
        let record = String(repeating: "0", count: 155)
        let set = try await redisBenchmark(count, ["SET", key, record, "NX", "PX", "20000"])
        let complete = try await redisBenchmark(
            count,
            ["EVALSHA", complete, "4", key, "sf2:{b:1}:wait:b:k", "sf2:{b:1}:done:b:k:" + token, "sf2:{b:1}:last:b:k"]
                + [token, "v", "SF--json-c[1]", "0", "sf2:in:b:0:"]
        )
        return 1 / (1 / set + 1 / complete)
    }

    private func redisBenchmark(_ count: Int, _ command: [String]) async throws -> Double {
        let arguments = ["redis-benchmark", "-s", socketPath, "-P", "64", "-c", "4", "-n", "\(count)", "-r", "100000"]
        let lines = try await Self.output("/usr/bin/env", arguments + ["--csv"] + command)
        // A head, and a line that has the rate in its second column.
        let fields = lines.last?.split(separator: "\",\"") ?? []
        guard fields.count > 2, let rate = Double(fields[1]) else {
            throw CommandFailure("cannot read the answer of redis-benchmark: \(lines.last ?? "none")")
        }
        return rate
    }

    private func run<Figures: Decodable>(_ mode: String, _ arguments: String...) async throws -> Figures {
        let lines = try await Self.output(directory + "/baseline", [mode, socketPath] + arguments)
        guard let line = lines.last else { throw CommandFailure("the baseline '\(mode)' gave no figures") }
        return try JSONText.decode(Figures.self, from: line)
    }

    static func output(
        _ executable: String,
        _ arguments: [String],
        environment: [String: String] = [:]
    ) async throws -> [String] {
        let process = try await ChildProcess(executable, arguments, environment: environment)
        var lines: [String] = []
        for await line in process.lines { lines.append(line) }
        // The lines also end when this task is canceled.
        if Task.isCancelled { process.signal(9) }
        let exit = await process.exit()
        guard exit == .code(0) else { throw CommandFailure("\(executable) \(arguments[0]) ended with \(exit)") }
        return lines
    }
}

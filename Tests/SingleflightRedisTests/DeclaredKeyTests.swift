import Foundation
import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightRedis

/// Some servers let scripts touch no key that is not declared. This one does, and tells what was touched.
@Suite("The keys that scripts touch", .usesServer, .timeLimit(.minutes(5)))
struct DeclaredKeyTests {
    /// Commands in scripts whose first argument is no key.
    private static let keyless: Set<String> = ["TIME", "PUBLISH"]

    /// The words of a line of MONITOR: `time [database client] "word" …`.
    private static func words(_ line: Substring) -> [String] {
        guard let start = line.firstRange(of: "] ") else { return [] }
        return line[start.upperBound...].split(separator: "\" ").map { String($0.replacing("\"", with: "")) }
    }

    @Test("are all declared, whatever becomes of a flight")
    func declared() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                let monitor = try await Monitor(redis)
                defer { monitor.stop() }
                for seed in 1...3 as ClosedRange<UInt64> {
                    let comparison = try await ModelComparison(stores: [one, two], keyCount: 2, seed: seed)
                    for _ in 0..<700 { #expect(try await comparison.step() == nil) }
                }
                var (declared, scripts, touched): (Set<String>, Int, Set<String>) = ([], 0, [])
                for line in try await monitor.lines() {
                    let words = Self.words(line)
                    guard let command = words.first else { continue }
                    if line.contains(" lua] ") {
                        guard !Self.keyless.contains(command), let key = words.dropFirst().first else { continue }
                        touched.insert(command)
                        let keys = command == "DEL" ? Array(words.dropFirst()) : [key]
                        for key in keys { #expect(declared.contains(key), "\(command) touches \(key)") }
                    } else if command.hasPrefix("EVAL"), words.count > 3, let count = Int(words[2]) {
                        scripts += 1
                        declared = Set(words[3..<3 + count])
                    }
                }
                #expect(scripts > 1000)
                #expect(
                    touched.isSuperset(of: ["GET", "SET", "HSET", "HDEL", "HLEN", "HKEYS", "PEXPIRE", "PTTL", "DEL"])
                )
            }
        }
    }
}

/// `redis-cli monitor`, into a file.
private final class Monitor {
    private let redis: PrivateRedis
    private let process = Process()
    private let file = FileManager.default.temporaryDirectory.appending(path: "singleflight-monitor-\(UUID())")

    init(_ redis: PrivateRedis) async throws {
        self.redis = redis
        try Data().write(to: self.file)
        self.process.executableURL = URL(filePath: "/usr/bin/env")
        self.process.arguments = ["redis-cli", "-s", redis.url.replacing("redis+unix://", with: ""), "monitor"]
        self.process.standardOutput = try FileHandle(forWritingTo: self.file)
        try self.process.run()
        try await until("the monitor") { try self.text().hasPrefix("OK") }
    }

    /// Everything that was sent so far.
    func lines() async throws -> [Substring] {
        let mark = "end of \(UUID())"
        try await self.redis.command("ECHO", mark)
        try await until("the mark") { try self.text().contains(mark) }
        return try self.text().split(separator: "\n")
    }

    func stop() {
        self.process.terminate()
        try? FileManager.default.removeItem(at: self.file)
    }

    private func text() throws -> String { String(decoding: try Data(contentsOf: self.file), as: UTF8.self) }
}

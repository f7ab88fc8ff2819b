import ArgumentParser
import Foundation
import PrivateRedis

/// Runs a command on servers of its own, which end with it.
struct WithCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "with",
        abstract: "Run a command with SINGLEFLIGHT_URL set to servers of its own.",
        discussion: "Example: lab with sentinel sh -c 'singleflight demo --redis \"$SINGLEFLIGHT_URL\"'"
    )

    enum Deployment: String, CaseIterable, ExpressibleByArgument {
        /// A primary with two replicas, and three sentinels.
        case sentinel
        /// Three primaries.
        case cluster
    }

    @Argument(help: "sentinel or cluster.")
    var deployment: Deployment

    @Argument(parsing: .captureForPassthrough, help: "The command and its arguments.")
    var command: [String]

    func run() async throws {
        let code =
            switch deployment {
            case .sentinel: try await PrivateSentinels.with { try await status(of: $0.url) }
            case .cluster: try await PrivateCluster.with { try await status(of: $0.clusterURL) }
            }
        throw ExitCode(code)
    }

    private func status(of url: String) async throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        process.environment = ProcessInfo.processInfo.environment.merging(["SINGLEFLIGHT_URL": url]) { $1 }
        let (ends, continuation) = AsyncStream.makeStream(of: Int32.self)
        process.terminationHandler = { continuation.yield($0.terminationStatus) }
        try process.run()
        return await ends.first { _ in true } ?? 1
    }
}

package import ArgumentParser
import PrivateRedis
import SingleflightCLI

/// Worker processes on a primary with replicas and sentinels, which fails over again and again under load: `make
/// failovers`.
package struct FailoversCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "failovers",
        abstract: "Worker processes on a primary under Sentinel, and failovers, under load."
    )

    @Option(help: "How many failovers.") var failovers = 6
    @OptionGroup var options: ServerTroubleOptions

    package init() {}

    package func validate() throws {
        guard self.failovers > 0 else { throw ValidationError("at least one") }
    }

    package func run() async throws {
        try await PrivateSentinels.with { deployment in
            try await self.options.play("failovers", times: self.failovers, on: deployment.url) { number in
                try await deployment.trouble(number)
            }
        }
    }
}

extension PrivateSentinels {
    /// The primary is lost in each way in turn.
    fileprivate func trouble(_ number: Int) async throws -> ServerTrouble {
        guard let old = await self.current() else { throw CommandFailure("no sentinel knows the primary") }
        switch number % 3 {
        case 1:
            return ServerTrouble(kind: "a failover, ordered (SENTINEL FAILOVER)") {
                try await self.failOver()
            } heal: {
                try await self.untilComplete()
            }
        case 2:
            return ServerTrouble(kind: "a failover, the primary killed, and started again empty") {
                await old.kill()
                try await self.untilMoved(from: old)
            } heal: {
                try await old.restart()
                try await self.untilComplete()
            }
        default:
            return ServerTrouble(kind: "a failover, the primary frozen, and thawed when there is another") {
                old.pause()
                try await self.untilMoved(from: old)
            } heal: {
                old.resume()
                try await self.untilComplete()
            }
        }
    }
}

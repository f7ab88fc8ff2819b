package import ArgumentParser
import HiredisClient
import PrivateRedis
import SingleflightCLI
import SingleflightRedis

/// Worker processes on a cluster of three primaries with a replica each, whose slots move and whose primaries are
/// replaced again and again under load: `make reshardings`.
package struct ReshardingsCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "reshardings",
        abstract: "Worker processes on a cluster, whose slots move and whose primaries fail over, under load."
    )

    @Option(help: "How many reshardings and failovers.") var reshardings = 6
    @OptionGroup var options: ServerTroubleOptions

    package init() {}

    package func validate() throws {
        guard self.reshardings > 0 else { throw ValidationError("at least one") }
    }

    package func run() async throws {
        try await PrivateCluster.with(.init(replicas: 1, nodeTimeout: 2_000)) { cluster in
            let (title, count) = ("reshardings and failovers", self.reshardings)
            try await self.options.play(title, times: count, on: cluster.clusterURL) { cluster.trouble($0) }
        }
    }
}

extension PrivateCluster {
    /// Slots that are in use move three times, then a replica takes over by order, then one of a killed primary.
    fileprivate func trouble(_ number: Int) -> ServerTrouble {
        switch number % 5 {
        case 4:
            return ServerTrouble(kind: "a failover, ordered (CLUSTER FAILOVER)") {
                try await self.failOver(to: self.replica(of: number % 3))
            } heal: {
                try await self.untilWell()
            }
        case 0:
            return ServerTrouble(kind: "a failover, the primary killed, and started again empty") {
                let old = try await self.primary(number % 3)
                let replica = try await self.replica(of: number % 3)
                await self.nodes[old].kill()
                try await self.until("the replica took over") { try await self.isPrimary(replica) }
            } heal: {
                try await self.rejoin()
            }
        default:
            return ServerTrouble(kind: "the slots of 32 partitions moved, with their keys") {
                for partition in (number * 32)..<(number * 32 + 32) {
                    let slot = Int(HashSlot(of: "{\(SoakSettings.namespace):\(partition % 256)}").number)
                    let owner = try await self.owner(of: slot)
                    let primaries = try await self.primaries()
                    let others = primaries.filter { $0 != owner }
                    guard let any = others.first else { continue }
                    try await self.move(slot, to: others.first { $0 % 3 == partition % 3 } ?? any)
                }
            }
        }
    }
}

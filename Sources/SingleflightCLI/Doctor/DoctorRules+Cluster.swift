import HiredisClient
import SingleflightRedis

/// What is to be said of a cluster.
extension DoctorRules {
    static func cluster(_ facts: RedisFacts) -> [Finding] {
        if let cluster = facts.cluster { return [nodes(cluster), slots(cluster), agreement(cluster), spares(cluster)] }
        let isMoved = facts.writeError.map { $0.hasPrefix("MOVED") || $0.hasPrefix("CLUSTERDOWN") } ?? false
        if isMoved || facts.info["cluster_enabled"] == "1" {
            return [
                .fail(
                    "cluster",
                    "the server is a node of a cluster, and does not tell this user of the others",
                    "Keys whose slots lie on other nodes cannot be reached.",
                    do: "As an administrator: ACL SETUSER \(facts.user ?? "NAME") +cluster|slots +cluster|info"
                )
            ]
        }
        guard facts.info["cluster_enabled"] != nil else { return [.skipped("cluster", needs: "INFO")] }
        return [.ok("cluster", "none", "All keys are on this server.")]
    }

    private static func nodes(_ cluster: ClusterFacts) -> Finding {
        let count = cluster.primaries.count
        let silent = cluster.primaries.filter { $0.failure != nil }
        guard let first = silent.first else {
            let failing = cluster.failing
            guard failing.isEmpty else {
                return .warn(
                    "cluster",
                    "\(count) primaries answer; failing: \(failing.joined(separator: ", "))",
                    "One more failure may leave slots that nobody serves.",
                    do: "Bring these nodes back, or forget them (CLUSTER FORGET)."
                )
            }
            guard count > 0 else {
                return .fail(
                    "cluster",
                    "no node serves any slot",
                    "No lease can be granted.",
                    do: "Give the slots to nodes: redis-cli --cluster fix."
                )
            }
            return .ok("cluster", "\(count) primaries, all of them answer", "Each key is at the primary of its slot.")
        }
        let reasons = silent.map { "\($0.address): \($0.failure ?? "")" }.joined(separator: "; ")
        let example = first.address
        return .fail(
            "cluster",
            "\(silent.count) of \(count) primaries do not answer: \(reasons)",
            "Flights whose keys lie there fail, or every process computes for itself.",
            do:
                "See whether they run, and whether the address that they announce, such as \(example), leads there from "
                + "here (cluster-announce-ip, cluster-announce-hostname)."
        )
    }

    private static func slots(_ cluster: ClusterFacts) -> Finding {
        let down = cluster.primaries.filter { $0.state == "fail" }.map(\.address.description)
        let advice = "See CLUSTER INFO and CLUSTER NODES; redis-cli --cluster check names what is missing."
        if cluster.uncoveredSlots > 0 {
            return .fail(
                "slots",
                "nobody serves \(cluster.uncoveredSlots) of \(HashSlot.count) slots",
                "No lease can be granted there, and nowhere unless cluster-require-full-coverage is no.",
                do: advice
            )
        }
        guard down.isEmpty else {
            return .fail(
                "slots",
                "the cluster is down for \(down.joined(separator: ", "))",
                "These nodes grant no lease.",
                do: advice
            )
        }
        return .ok("slots", "all are served", "Every key has a primary.")
    }

    /// The one of the highest epoch is right, as it is for processes.
    private static func agreement(_ cluster: ClusterFacts) -> Finding {
        let epochs = cluster.primaries.compactMap(\.epoch)
        guard let highest = epochs.max() else { return .skipped("epoch", needs: "CLUSTER INFO") }
        let behind = cluster.primaries.filter { ($0.epoch ?? highest) < highest }
        guard !behind.isEmpty else {
            return .ok("epoch", "\(highest), for all nodes", "No node is cut off from the others.")
        }
        let words = behind.map { "\($0.address) is at \($0.epoch ?? 0)" }.joined(separator: ", ")
        return .warn(
            "epoch",
            "\(highest), but \(words)",
            "A node that stays behind is cut off from the majority, and may still grant leases for a while.",
            do: "Ask again in some seconds; if it stays so, look at the ports of the cluster's bus."
        )
    }

    private static func spares(_ cluster: ClusterFacts) -> Finding {
        let alone = cluster.primaries.filter { $0.replicas == 0 }.map(\.address.description)
        guard !alone.isEmpty else {
            return .ok("spares", "every primary has a replica", "A primary that is lost is replaced.")
        }
        return .warn(
            "spares",
            "\(alone.count) of \(cluster.primaries.count) primaries have no replica: \(alone.joined(separator: ", "))",
            "When one of them is lost, so are its leases, and nobody serves its slots.",
            do: "Add replicas: redis-cli --cluster add-node … --cluster-slave."
        )
    }
}

import HiredisClient
import SingleflightRedis

/// What the sentinels say, where the URL names some.
extension DoctorRules {
    static func sentinels(_ facts: RedisFacts) -> [Finding] {
        guard let reports = facts.sentinels else { return [] }
        return [answers(reports), agreement(reports), quorum(reports)]
    }

    private static func answers(_ reports: [SentinelReport]) -> Finding {
        let silent = reports.filter { $0.failure != nil }
        let found = "\(reports.count - silent.count) of \(reports.count) answer"
        guard !silent.isEmpty else {
            if reports.count < 3 {
                return .warn(
                    "sentinels",
                    found,
                    "With fewer than three, the loss of one leaves nobody who could agree on a failover.",
                    do: "Run at least three sentinels on machines of their own, and name all of them in the URL."
                )
            }
            return .ok("sentinels", found, "Processes find the primary as long as one of them answers.")
        }
        let reasons = silent.compactMap { $0.failure?.message }.joined(separator: "; ")
        let advice = "See whether they run, and whether sentinel-user, sentinel-password and TLS fit."
        if silent.count == reports.count {
            return .fail("sentinels", "none answers: \(reasons)", "No process can find the primary.", do: advice)
        }
        return .warn("sentinels", "\(found): \(reasons)", "A primary is still found, by the others.", do: advice)
    }

    private static func agreement(_ reports: [SentinelReport]) -> Finding {
        let answering = reports.filter { $0.failure == nil }
        guard !answering.isEmpty else { return .notTried("primary") }
        let ignorant = answering.filter { $0.primary == nil }.map { "\($0.sentinel)" }
        if ignorant.count == answering.count {
            return .fail(
                "primary",
                "no sentinel knows a primary of this name",
                "No process can find the primary.",
                do: "See `sentinel monitor` in the sentinels' configuration for the name."
            )
        }
        let told = answering.filter { $0.primary != nil }
        // The one of the highest epoch is right, as it is for processes.
        let best = told.dropFirst().reduce(told[0]) { ($1.epoch ?? -1) > ($0.epoch ?? -1) ? $1 : $0 }
        let found = best.primary.map { "\($0)" } ?? ""
        let dissenters = told.filter { $0.primary != best.primary }.map { report in
            "\(report.sentinel) says \(report.primary.map { "\($0)" } ?? "none")"
        }
        if !dissenters.isEmpty || !ignorant.isEmpty {
            let words = dissenters + ignorant.map { "\($0) knows none of this name" }
            return .warn(
                "primary",
                "\(found), but \(words.joined(separator: ", "))",
                "A process that reaches none but these goes to another server, or to none.",
                do: "See whether they are cut off from the others, or watch another primary by this name."
            )
        }
        if let trouble = best.flags.first(where: { ["s_down", "o_down", "disconnected"].contains($0) }) {
            return .warn(
                "primary",
                "\(found), which \(best.sentinel) holds for \(trouble)",
                "A failover may be under way.",
                do: "Try again in a minute; see the sentinels' logs if it lasts."
            )
        }
        return .ok("primary", found, "All sentinels that answer agree.")
    }

    private static func quorum(_ reports: [SentinelReport]) -> Finding {
        guard let report = reports.first(where: { $0.quorum != nil }), let quorum = report.quorum else {
            return reports.contains { $0.primary != nil }
                ? .skipped("quorum", needs: "SENTINEL MASTER") : .notTried("quorum")
        }
        let replicas = report.replicas ?? 0
        let sentinels = (report.others ?? 0) + 1
        let found = "\(quorum) of \(sentinels) sentinels, \(replicas) replica\(replicas == 1 ? "" : "s")"
        if let reason = reports.compactMap(\.noQuorum).first {
            return .fail(
                "quorum",
                "\(found): \(reason)",
                "There is no failover when the primary is lost.",
                do: "Bring back the sentinels that are missing."
            )
        }
        if replicas == 0 {
            return .fail(
                "quorum",
                found,
                "There is nothing to fail over to when the primary is lost.",
                do: "Add a replica: REPLICAOF with the primary's address."
            )
        }
        if quorum * 2 <= sentinels, sentinels > 1 {
            return .ok("quorum", found, "A failover also takes the votes of a majority of all sentinels.")
        }
        return .ok("quorum", found, "There is a failover when the primary is lost.")
    }
}

import NIOCore

/// What one sentinel says of a primary.
package struct SentinelReport: Sendable {
    package var sentinel: RedisAddress
    /// Why the sentinel tells nothing; nil if it does.
    package var failure: RedisClientError?
    /// Where it takes the primary to be; nil if it knows none of that name.
    package var primary: RedisAddress?
    /// The number of failovers that it knows of, more or less; nil if it does not tell.
    package var epoch: Int64?
    /// What it holds of the primary: `master`, and `s_down`, `o_down`, `disconnected` where there is trouble.
    package var flags: [String] = []
    /// How many sentinels must agree that the primary is down.
    package var quorum: Int?
    /// How many replicas, and how many sentinels besides itself, it knows.
    package var replicas: Int?
    package var others: Int?
    /// Why there would be no failover now; nil if there would be one, or it is not known.
    package var noQuorum: String?

    package init(sentinel: RedisAddress) {
        self.sentinel = sentinel
    }
}

extension RedisClient {
    /// Asks every sentinel of the deployment, all at the same time; nil if there are none.
    package func surveySentinels() async -> [SentinelReport]? {
        guard case .sentinel(let deployment) = configuration.target.deployment else { return nil }
        let question = SentinelQuestion(deployment, configuration)
        let eventLoop = eventLoop
        return await withTaskGroup(of: (Int, SentinelReport).self) { group in
            for index in deployment.sentinels.indices {
                group.addTask { (index, await question.report(of: index, on: eventLoop)) }
            }
            var reports: [(Int, SentinelReport)] = []
            for await report in group { reports.append(report) }
            return reports.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }
}

extension SentinelQuestion {
    fileprivate func report(of index: Int, on eventLoop: any EventLoop) async -> SentinelReport {
        var report = SentinelReport(sentinel: deployment.sentinels[index])
        let name = RedisArgument.string(deployment.primary)
        let answers: [RESPValue]
        do {
            answers = try await eventLoop.flatSubmit { [self] in
                RedisQuestion.ask(
                    [
                        RedisCommand("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name),
                        RedisCommand("SENTINEL", "MASTER", name), RedisCommand("SENTINEL", "CKQUORUM", name),
                    ],
                    at: place(index),
                    configuration: configuration,
                    within: limit,
                    on: eventLoop
                )
            }.get()
        } catch {
            if case .failed(let failure) = reply(of: index, .failure(error)) { report.failure = failure }
            return report
        }
        switch reply(of: index, .success(answers)) {
        case .primary(let address, let epoch):
            report.primary = address
            report.epoch = epoch < 0 ? nil : epoch
        case .unknownName:
            return report
        case .failed(let failure):
            report.failure = failure
            return report
        }
        let fields = Self.fields(answers[1])
        report.flags = fields["flags"]?.split(separator: ",").map(String.init) ?? []
        report.quorum = fields["quorum"].flatMap { Int($0) }
        report.replicas = fields["num-slaves"].flatMap { Int($0) }
        report.others = fields["num-other-sentinels"].flatMap { Int($0) }
        if case .error(let error) = answers[2], error.code == "NOQUORUM" { report.noQuorum = error.message }
        return report
    }
}

import FaultProxy
import Foundation
import PrivateRedis
import SingleflightCLI
import SingleflightRedis

extension SoakStage {
    /// What is left of a chunk when the server comes back, at least, to see that all is well again.
    private static let recoverySeconds = 10

    /// Makes the trouble of a second, if it can be made.
    func makeTrouble(in second: Int, of seconds: Int) async throws {
        let plan = TroublePlan(from: self.report.settings.troubles, using: &self.random)
        let isPossible =
            (self.away == nil || !plan.chaos.needsServer) && second >= self.notBefore[plan.chaos, default: 0]
            && (plan.chaos != .longOutage
                || second + self.report.settings.outage + Self.recoverySeconds <= seconds)
        let chaos = isPossible ? plan.chaos : .none
        self.report.troubles[chaos.rawValue, default: 0] += 1
        guard chaos != .none else { return }
        self.notBefore[chaos] = second + chaos.rest
        let lasts = [.slowLink, .restartEmpty, .longOutage].contains(chaos)
        let start = MonotonicTime.now
        self.ledger.add(Trouble(kind: chaos.rawValue, start: start, end: lasts ? nil : start))
        let expendable = Self.steady.upperBound + Int(plan.worker % UInt64(self.workers.count - Self.steady.count))
        switch chaos {
        case .killWorker, .restartWorker, .shutDownUnderLoad, .otherSettings:
            try await self.endWorker(expendable, plan)
        case .pauseWorker:
            let worker = self.workers[Int(plan.worker % UInt64(self.workers.count))].process
            await worker.pause()
            await Self.last(for: plan.lasting)
            worker.signal(SIGCONT)
        case .bigValues:
            self.workers[expendable].process.send(try JSONText.line(WorkerOrder.bigValues))
        case .slowLink:
            let indices = self.links.keys.sorted()
            let index = indices[Int(plan.worker % UInt64(indices.count))]
            self.links[index]?.carry(bytesPerSecond: plan.bytesPerSecond)
            self.slowUntil[index] = second + 1 + plan.seconds
        default:
            try await self.troubleServer(chaos, plan, in: second)
        }
    }

    /// Ends what lasts until this second.
    func endTrouble(in second: Int) async throws {
        for (index, until) in self.slowUntil where until <= second {
            self.links[index]?.carry(bytesPerSecond: nil)
            self.slowUntil[index] = nil
            self.ledger.end(Chaos.slowLink.rawValue, at: .now)
        }
        if let (until, chaos) = self.away, until <= second {
            try await self.bringBack(after: chaos)
        }
    }

    private func bringBack(after chaos: Chaos) async throws {
        try await self.redis.restart()
        self.forgetServerSize()
        self.ledger.end(chaos.rawValue, at: .now)
        self.away = nil
    }

    // MARK: - Workers

    private func endWorker(_ index: Int, _ plan: TroublePlan) async throws {
        let process = self.workers[index].process
        switch plan.chaos {
        case .killWorker:
            self.dismissed.insert(process.id)
            process.signal(SIGKILL)
            _ = await process.exit()
        default:
            try await self.shutDown(process, plan.chaos == .shutDownUnderLoad ? .shutDown : .stop)
            try await self.askForLeases(of: process.id)
        }
        try await self.replace(index, plan, settings: plan.chaos == .otherSettings ? plan.settings : 0)
    }

    /// A worker that has shut down holds no lease but those about which it asked in vain.
    private func askForLeases(of process: Int32) async throws {
        let accounts = self.accounts.removeValue(forKey: process) ?? [:]
        guard self.away == nil else { return }
        // A label ends with the process's id.
        let answer = try await self.redis.command("EVAL", Self.leases, "0", ":\(process)\"")
        self.report.shutdownsChecked += 1
        for line in answer.split(whereSeparator: \.isNewline) where !line.hasPrefix("$") && !line.hasPrefix("*") {
            let account = accounts[String(line.prefix(32))]
            if account?.isInDoubt ?? false {
                self.report.leasesLeftBehind["asked about in vain; \(self.ledger.cause(of: .now))", default: 0] += 1
            } else {
                self.report.violations.append(
                    "a shutdown has left the lease \(line): \(account?.trail ?? "never asked for")"
                )
            }
        }
    }

    private static let leases = """
        local cursor, found = '0', {}
        repeat
            local page = redis.call('SCAN', cursor, 'COUNT', 1000, 'TYPE', 'string')
            for _, key in ipairs(page[2]) do
                if string.find(key, ':lease:', 1, true) then
                    local record = redis.call('GET', key)
                    if record and string.find(record, ARGV[1], 1, true) then
                        found[#found + 1] = string.sub(record, 1, 32) .. ' of ' .. key
                    end
                end
            end
            cursor = page[1]
        until cursor == '0'
        return {unpack(found, 1, math.min(#found, 100))}
        """

    // MARK: - The server

    private func troubleServer(_ chaos: Chaos, _ plan: TroublePlan, in second: Int) async throws {
        let milliseconds = Int(plan.lasting / .milliseconds(1))
        switch chaos {
        case .killCommandConnections: try await self.redis.command("CLIENT", "KILL", "TYPE", "normal")
        case .killInboxConnections: try await self.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
        case .flushScripts: try await self.redis.command("SCRIPT", "FLUSH")
        case .pauseServer:
            self.redis.pause()
            await Self.last(for: plan.lasting)
            self.redis.resume()
        case .blockServer: try await self.redis.command("DEBUG", "SLEEP", "\(plan.lasting / .seconds(1))")
        case .pauseClients: try await self.redis.command("CLIENT", "PAUSE", "\(milliseconds)")
        case .pauseWrites: try await self.redis.command("CLIENT", "PAUSE", "\(milliseconds)", "WRITE")
        case .restartEmpty:
            await self.takeAway()
            guard plan.seconds > 0 else { return try await self.bringBack(after: chaos) }
            self.away = (until: second + plan.seconds, chaos)
        case .longOutage:
            await self.takeAway()
            self.away = (until: second + self.report.settings.outage, chaos)
        default: break
        }
    }

    private func takeAway() async {
        let start = MonotonicTime.now
        await self.history.losing { await self.redis.stop() }
        self.ledger.add(loss: start...MonotonicTime.now)
    }

    /// How long a trouble lasts is part of it.
    private static func last(for duration: Duration) async { try? await Task.sleep(for: duration) }
}

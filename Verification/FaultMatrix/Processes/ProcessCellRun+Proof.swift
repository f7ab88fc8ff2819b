import PrivateRedis
import SingleflightRedis

/// That a process is where its cell wants it: read at the server, which has carried out the held request or has not.
extension ProcessCellRun {
    /// Whether the server is as the point has it. On a machine that is too busy a lease may have run out before.
    func isAtPoint(_ worker: WorkerProcess, _ other: CellProcess) async throws -> Bool {
        let isCarriedOut = self.cell.moment == .after
        let inspection = try await other.store.inspected(group: self.groupName, key: "key")
        let held = inspection.lease.flatMap { $0.isExpired || $0.inbox.description != worker.inbox ? nil : $0 }
        switch self.cell.point {
        case .acquire: return (held != nil) == isCarriedOut
        case .complete, .release: return (held == nil) == isCarriedOut
        case .renew: return held?.note.renewals == (isCarriedOut ? 1 : 0)
        case .enter, .leave:
            let waits = inspection.waiters.contains { $0.description == worker.inbox }
            return waits == (isCarriedOut == (self.cell.point == .enter))
        case .fence: return try await self.isFenceDrawn() == isCarriedOut
        case .subscribe: return try await self.isSubscribed(worker, isCarriedOut)
        // It asks, and leaves all as it is.
        case .poll: return true
        case .announcement: return false
        }
    }

    /// Whether a fence was drawn in the flight's partition. Should another cell's flight lie in it, this one is played
    /// again.
    private func isFenceDrawn() async throws -> Bool {
        let reply = try await self.redis.command(
            "EVAL",
            """
            local lease = redis.call('KEYS', '*}:lease:' .. ARGV[1] .. ':*')[1]
            if not lease then return 0 end
            return redis.call('EXISTS', string.match(lease, '^.*}:') .. 'fence')
            """,
            "0",
            self.groupName
        )
        return reply == ":1\r\n"
    }

    /// Whether the server knows the worker's inbox; it may take a moment to notice that a connection was cut.
    private func isSubscribed(_ worker: WorkerProcess, _ isWanted: Bool) async throws -> Bool {
        let channel = "sf2:in:matrix:0:\(worker.inbox ?? "")"
        let wanted = "*2\r\n$\(channel.utf8.count)\r\n\(channel)\r\n:\(isWanted ? 1 : 0)\r\n"
        let isSeen = await within(MatrixTimes.commandTimeout / 2) {
            // The pace of asking a server that does not tell.
            while (try? await self.redis.command("PUBSUB", "NUMSUB", channel)) != wanted {
                guard (try? await Task.sleep(for: .milliseconds(5))) != nil else { return false }
            }
            return true
        }
        return isSeen ?? false
    }
}
